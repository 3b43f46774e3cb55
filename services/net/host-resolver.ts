import type { LookupAddress } from 'node:dns'
import { lookup, Resolver } from 'node:dns/promises'
import type { LookupFunction } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import { Semaphore } from '../runtime/semaphore.ts'

export interface HostResolverOptions {
  /** whether names of this machine and its networks are resolved too, from /etc/hosts and with search domains */
  allowPrivate: boolean
  /** the name servers to query, `address` or `address:port`; by default those of the system */
  servers?: string[] | undefined
}

/** A DNS forwarder handles about a hundred queries at a time, and Replicate's name has to be resolved, too. */
const maxConcurrentLookups = 16
/** For one name. It is part of the timeout of the whole call. */
const lookupTimeoutMs = 4_000
const resolverOptions = { timeout: 1_500, tries: 2 }
/** How long the second address family may take after the first one has been resolved. */
const secondFamilyMs = 100

const loopback: LookupAddress[] = [{ address: '127.0.0.1', family: 4 }, { address: '::1', family: 6 }]

class LookupTimeoutError extends Error {
  readonly code = 'ETIMEOUT'
}

/**
 * Resolves host names that strangers chose. It does not use getaddrinfo, which has four threads for the whole process and cannot be
 * stopped: sixteen names whose name server does not answer would block the resolution of Replicate and the database for minutes.
 */
export class HostResolver {
  #options
  #semaphore = new Semaphore(maxConcurrentLookups)
  /** Limits getaddrinfo to one of its four threads. */
  #systemSemaphore = new Semaphore(1)

  constructor (options: HostResolverOptions) {
    this.#options = options
  }

  /**
   * @returns at least one address, those of IPv4 first
   * @throws an error with a `code`, or the signal's reason
   */
  async resolve (hostname: string, signal: AbortSignal): Promise<LookupAddress[]> {
    const name = hostname.replace(/\.$/, '')
    if (/(^|\.)localhost$/.test(name)) return loopback
    try {
      return await this.#semaphore.run(signal, () => this.#queryDns(name, signal))
    } catch (error) {
      signal.throwIfAborted()
      if (!this.#options.allowPrivate) throw error
      return await this.#querySystem(name, signal)
    }
  }

  /** Makes the `lookup` of connections that end with the signal. */
  createLookup (signal: AbortSignal): LookupFunction {
    return (hostname, { all }, callback) => {
      this.resolve(hostname, signal).then((addresses) => {
        const [first] = addresses
        if (all) callback(null, addresses)
        else callback(null, first?.address ?? '', first?.family)
      }, (error: NodeJS.ErrnoException) => callback(error, []))
    }
  }

  async #queryDns (name: string, signal: AbortSignal): Promise<LookupAddress[]> {
    const { servers } = this.#options
    const resolver = new Resolver(resolverOptions)
    if (servers !== undefined) resolver.setServers(servers)
    const inTime = createDeadlineSignal(signal, lookupTimeoutMs)
    const cancel = (): void => resolver.cancel()
    inTime.signal.addEventListener('abort', cancel, { once: true })
    try {
      return await resolveBothFamilies(name, resolver)
    } catch (error) {
      signal.throwIfAborted()
      throw inTime.signal.aborted ? new LookupTimeoutError(`No name server has answered for ${lookupTimeoutMs} ms`) : error
    } finally {
      inTime.dispose()
    }
  }

  /** The thread stays busy until getaddrinfo returns, even if the caller stops waiting. */
  async #querySystem (name: string, signal: AbortSignal): Promise<LookupAddress[]> {
    return await new Promise((resolve, reject) => {
      const giveUp = (): void => reject(signal.reason)
      signal.addEventListener('abort', giveUp, { once: true })
      this.#systemSemaphore.run(signal, () => lookup(name, { all: true, order: 'ipv4first' }))
        .then(resolve, reject)
        .finally(() => signal.removeEventListener('abort', giveUp))
    })
  }
}

async function resolveBothFamilies (name: string, resolver: Resolver): Promise<LookupAddress[]> {
  const questions = [
    resolver.resolve4(name).then((found) => found.map((address) => ({ address, family: 4 }))),
    resolver.resolve6(name).then((found) => found.map((address) => ({ address, family: 6 })))
  ]
  const both = Promise.allSettled(questions)
  await Promise.race([both, Promise.any(questions).then(() => delay(secondFamilyMs), () => both)])
  resolver.cancel()
  const answers = await both
  const addresses = answers.flatMap((answer) => answer.status === 'fulfilled' ? answer.value : [])
  if (addresses.length === 0) throw answers.find((answer) => answer.status === 'rejected')?.reason
  return addresses
}
