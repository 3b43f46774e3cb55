import { isIP } from 'node:net'
import { parseHostname } from './host-header.ts'

export interface CrossSiteGuardOptions {
  /** the service's own address for the outside, if it has one */
  publicUrl: string | undefined
  /** further host names that lead to it, in lower case; `*` for any */
  allowedHosts: string[]
}

export interface BrowserRequest {
  method: string
  /** by lower-case name */
  headers: Record<string, string | string[] | undefined>
}

/** How many spellings of hosts are remembered as good: with and without a port there are a few. */
const maxCachedHosts = 100

/**
 * Tells requests that a foreign web page makes its reader's browser send. Such a page reaches whatever the browser
 * reaches, a service on loopback or in a private network too. It is given away by what browsers say of a request, or,
 * where its own name was made to lead here (DNS rebinding), by that name in `Host`. A program can say what it likes: this
 * protects browsers' owners, it is no authentication.
 */
export class CrossSiteGuard {
  readonly #allowsAnyHost: boolean
  readonly #hosts: Set<string>
  /** with its port: a proxy may have put another name into `Host` */
  readonly #publicHost: string | undefined
  readonly #cachedHosts = new Set<string>()

  constructor ({ publicUrl, allowedHosts }: CrossSiteGuardOptions) {
    this.#allowsAnyHost = allowedHosts.includes('*')
    this.#hosts = new Set(['localhost', '', ...allowedHosts])
    this.#publicHost = publicUrl === undefined ? undefined : new URL(publicUrl).host
    if (this.#publicHost !== undefined) this.#hosts.add(parseHostname(this.#publicHost) ?? '')
  }

  /** Whether a valid `Host` header leads here by a name that is known, or by an address, which no page can make its own. */
  isAllowedHost (header: string | undefined): boolean {
    if (this.#allowsAnyHost || header === undefined || this.#cachedHosts.has(header)) return true
    const host = parseHostname(header) ?? ''
    if (!this.#hosts.has(host) && isIP(host.replace(/^\[|\]$/g, '')) === 0) return false
    if (this.#cachedHosts.size < maxCachedHosts) this.#cachedHosts.add(header)
    return true
  }

  /**
   * Whether another site's page sends the request. A reader who follows a link from there is welcome: the other page sees
   * nothing of what opens, and nothing is changed by it.
   * @see https://web.dev/articles/fetch-metadata
   */
  isCrossSite ({ method, headers }: BrowserRequest): boolean {
    const isSafe = method === 'GET' || method === 'HEAD'
    const site = headers['sec-fetch-site']
    if (site === undefined) return !isSafe && this.#isCrossOrigin(headers)
    if (site === 'same-origin' || site === 'none') return false
    return !(isSafe && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document')
  }

  /** Browsers that say nothing of the site name the origin of each request that is no GET or HEAD. */
  #isCrossOrigin ({ origin, host }: BrowserRequest['headers']): boolean {
    if (typeof origin !== 'string') return false
    const originHost = URL.parse(origin)?.host
    return originHost !== String(host).toLowerCase() && (originHost === undefined || originHost !== this.#publicHost)
  }
}
