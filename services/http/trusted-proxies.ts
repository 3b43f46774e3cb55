import { BlockList, isIP } from 'node:net'
import { normalizeAddress } from '../net/ip-address.ts'
import { parseHostname } from './host-header.ts'

/** More proxies than this in a row are a mistake. */
const maxHops = 10

/** The members of Node's request that say where it comes from. */
export interface ReceivedRequest {
  /** by lower-case name */
  headers: Record<string, string | string[] | undefined>
  socket: { remoteAddress?: string | undefined }
}

/** Whether the sender of an `X-Forwarded-For`, that many hops in front of the service, is a trusted proxy. */
type Trust = (address: string, hop: number) => boolean

/** Knows the proxies whose statements about a request are believed. */
export class TrustedProxies {
  static readonly none = new TrustedProxies(() => false)
  readonly #trust: Trust

  constructor (trust: Trust) {
    this.#trust = trust
  }

  /** Whether the request was sent by a trusted proxy, so that its headers `X-Forwarded-…` and `X-Request-Id` can be believed. */
  isFromProxy ({ socket }: ReceivedRequest): boolean {
    return this.#trust(normalizeAddress(socket.remoteAddress ?? '') ?? '', 0)
  }

  /**
   * The address of the client. Each trusted proxy adds the address of its own sender at the end of `X-Forwarded-For`, so the header is
   * read from its end up to the first address that is not that of a trusted proxy. If a proxy has added something else than an
   * address, it is the address of this proxy.
   * @returns IPv4 or IPv6 in its usual notation, IPv4 also where the socket embeds it in IPv6; `''` if the connection is gone
   */
  clientAddress ({ headers, socket }: ReceivedRequest): string {
    const forwarded = String(headers['x-forwarded-for'] ?? '')
    let client = normalizeAddress(socket.remoteAddress ?? '') ?? ''
    let end = forwarded.length
    for (let hop = 0; end > 0 && this.#trust(client, hop); hop++) {
      const comma = forwarded.lastIndexOf(',', end - 1)
      const sender = parseForwardedAddress(forwarded.slice(comma + 1, end))
      if (sender === undefined) break
      client = sender
      end = comma
    }
    return client
  }

  /** @returns `http` or `https`, as the trusted proxy was addressed; undefined if no such proxy says it */
  forwardedProtocol (request: ReceivedRequest): 'http' | 'https' | undefined {
    const protocol = this.#lastValue(request, 'x-forwarded-proto')?.toLowerCase()
    return protocol === 'http' || protocol === 'https' ? protocol : undefined
  }

  /** @returns the host with its port, as the trusted proxy was addressed; undefined if no such proxy says it */
  forwardedHost (request: ReceivedRequest): string | undefined {
    const host = this.#lastValue(request, 'x-forwarded-host')
    return host === undefined || !parseHostname(host) ? undefined : host
  }

  /** The value that the proxy has set. If it has added a value to another one, only the last is its own. */
  #lastValue (request: ReceivedRequest, name: string): string | undefined {
    const value = request.headers[name]
    return typeof value === 'string' && this.isFromProxy(request) ? value.slice(value.lastIndexOf(',') + 1).trim() : undefined
  }
}

/**
 * Parses a list of trusted proxies.
 * @param text a number of proxies in a row, or addresses and networks with commas between them
 * @returns the rest of a sentence that begins with the name of the setting, if it cannot be used
 */
export function parseTrustedProxies (text: string): { ok: true, proxies: TrustedProxies } | { ok: false, fault: string } {
  if (/^\d+$/.test(text)) return trustHops(Number(text))
  const list = new BlockList()
  for (const entry of text.split(',').map((part) => part.trim())) {
    const fault = addEntry(list, entry)
    if (fault !== undefined) return { ok: false, fault }
  }
  return { ok: true, proxies: new TrustedProxies((address) => address !== '' && list.check(address, familyOf(address))) }
}

function trustHops (hops: number): ReturnType<typeof parseTrustedProxies> {
  if (hops < 1 || hops > maxHops) return { ok: false, fault: `must be a number of proxies from 1 to ${maxHops}, or a list of addresses` }
  return { ok: true, proxies: new TrustedProxies((address, hop) => address !== '' && hop < hops) }
}

/** @returns what is wrong with the entry */
function addEntry (list: BlockList, entry: string): string | undefined {
  const [given = '', prefix, more] = entry.split('/')
  const address = normalizeAddress(given)
  if (address === undefined || more !== undefined) {
    return `must be a number, or IP addresses and networks such as 10.0.0.0/8, with commas between them: “${entry}” is none`
  }
  if (prefix === undefined) {
    list.addAddress(address, familyOf(address))
    return undefined
  }
  const maxPrefix = isIP(given) === 6 ? 128 : 32
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > maxPrefix) return `has the network “${entry}”, whose number after the slash must be from 1 to ${maxPrefix}`
  if (Number(prefix) === 0) return `has “${entry}”, which means every address: then each client could choose its own address`
  if (isIP(given) !== isIP(address)) return `has the network “${entry}”: write networks of IPv4 as such, without ::ffff:`
  list.addSubnet(address, Number(prefix), familyOf(address))
  return undefined
}

function familyOf (address: string): 'ipv4' | 'ipv6' {
  return address.includes(':') ? 'ipv6' : 'ipv4'
}

/** Some proxies add the port of their sender. */
function parseForwardedAddress (text: string): string | undefined {
  const address = text.trim()
  const [, inBrackets, beforePort] = /^(?:\[([^\]]*)\](?::\d+)?|([\d.]+):\d+)$/.exec(address) ?? []
  return normalizeAddress(inBrackets ?? beforePort ?? address)
}
