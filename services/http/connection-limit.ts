import type { Socket } from 'node:net'
import { addressNetwork } from '../net/ip-address.ts'
import type { Log } from '../runtime/log.ts'

export interface ConnectionLimitOptions {
  /** open connections of an address, or of a /64 with IPv6; 0 for any number */
  maxPerAddress: number
  /** whether the connections from an address are not limited */
  isExempt: (address: string) => boolean
  log: Log
}

/** Addresses whose refused connections are logged, each once. */
const maxLoggedAddresses = 20

/**
 * Limits the open connections of each address, so that a single client cannot take all that the process can have. A connection beyond the
 * limit is closed at once: reading its request would take what the limit is to save. Node's own `maxConnections` does not tell one client
 * from another, and would refuse all.
 */
export class ConnectionLimit {
  readonly #options: ConnectionLimitOptions
  readonly #open = new Map<string, number>()
  readonly #logged = new Set<string>()

  constructor (options: ConnectionLimitOptions) {
    this.#options = options
  }

  /** Counts a connection until it is closed, or closes it. */
  admit (socket: Socket): void {
    const { remoteAddress } = socket
    const { maxPerAddress, isExempt } = this.#options
    // A connection without an address has been closed by its client.
    if (maxPerAddress === 0 || remoteAddress === undefined || isExempt(remoteAddress)) return
    const network = addressNetwork(remoteAddress)
    const open = this.#open.get(network) ?? 0
    if (open >= maxPerAddress) {
      this.#logOnce(network)
      // Without a reset the system would keep each of them for a minute more.
      socket.resetAndDestroy()
      return
    }
    this.#open.set(network, open + 1)
    socket.once('close', () => this.#release(network))
  }

  #release (network: string): void {
    const open = this.#open.get(network) ?? 0
    if (open > 1) this.#open.set(network, open - 1)
    else this.#open.delete(network)
  }

  #logOnce (address: string): void {
    if (this.#logged.has(address) || this.#logged.size === maxLoggedAddresses) return
    this.#logged.add(address)
    this.#options.log.warn({ address, max: this.#options.maxPerAddress }, 'Closed a connection, because its address has as many open as MAX_CONNECTIONS_PER_ADDRESS allows. If it is your proxy, add it to TRUST_PROXY')
  }
}
