import { isIP } from 'node:net'
import type { AllowedOrigins } from './allowed-origins.ts'
import { parseHostname } from './host-header.ts'

export interface CrossSiteGuardOptions {
  /** the address at which clients reach the service, if it is set */
  publicUrl: string | undefined
  /** other allowed host names, in lower case; `*` allows any */
  allowedHosts: string[]
  /** the origins whose pages are not foreign. `any` is for requests with an API key, so here it allows none */
  allowedOrigins: AllowedOrigins | undefined
}

export interface BrowserRequest {
  method: string
  /** by lower-case name */
  headers: Record<string, string | string[] | undefined>
  /** the host and the port by which the client has addressed the service */
  host: string
}

/** `Host` headers that are cached as allowed. A service has a few: its names with and without a port. */
const maxCachedHosts = 100

/**
 * Recognises cross-site requests, which a web page makes the browser of its visitor send. Such a page reaches everything that the
 * browser reaches, including a service on loopback or in a private network. Browsers describe a cross-site request in its headers. A
 * page whose own host name resolves to this service (DNS rebinding) is recognised by that name in `Host`. Programs other than browsers
 * can send any header: this protects the users of browsers, it is no authentication.
 */
export class CrossSiteGuard {
  readonly #allowsAnyHost: boolean
  readonly #hosts: Set<string>
  /** with its port; compared with `Origin`, because a proxy may have changed `Host` */
  readonly #publicHost: string | undefined
  readonly #allowedOrigins: ReadonlySet<string> | undefined
  readonly #cachedHosts = new Set<string>()

  constructor ({ publicUrl, allowedHosts, allowedOrigins }: CrossSiteGuardOptions) {
    this.#allowedOrigins = allowedOrigins === 'any' ? undefined : allowedOrigins
    this.#allowsAnyHost = allowedHosts.includes('*')
    this.#hosts = new Set(['localhost', '', ...allowedHosts])
    this.#publicHost = publicUrl === undefined ? undefined : new URL(publicUrl).host
    if (this.#publicHost !== undefined) this.#hosts.add(parseHostname(this.#publicHost) ?? '')
  }

  /** Whether a valid `Host` header holds an allowed name or an IP address. A page cannot rebind an address, only a name. */
  isAllowedHost (header: string | undefined): boolean {
    if (this.#allowsAnyHost || header === undefined || this.#cachedHosts.has(header)) return true
    const host = parseHostname(header) ?? ''
    if (!this.#hosts.has(host) && isIP(host.replace(/^\[|\]$/g, '')) === 0) return false
    if (this.#cachedHosts.size < maxCachedHosts) this.#cachedHosts.add(header)
    return true
  }

  /**
   * Whether a page of another site sends the request. Following a link from there is allowed: it changes nothing, and the other page
   * cannot read what opens.
   * @see https://web.dev/articles/fetch-metadata
   */
  isCrossSite ({ method, headers, host }: BrowserRequest): boolean {
    if (typeof headers.origin === 'string' && this.#allowedOrigins?.has(headers.origin) === true) return false
    const isSafe = method === 'GET' || method === 'HEAD'
    const site = headers['sec-fetch-site']
    if (site === undefined) return !isSafe && this.#isCrossOrigin(headers.origin, host)
    if (site === 'same-origin' || site === 'none') return false
    return !(isSafe && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document')
  }

  /** Browsers without `Sec-Fetch-Site` send `Origin` with every request other than GET and HEAD. */
  #isCrossOrigin (origin: BrowserRequest['headers'][string], host: string): boolean {
    if (typeof origin !== 'string') return false
    const page = URL.parse(origin)
    if (page === null || !['http:', 'https:'].includes(page.protocol)) return true
    // As browsers write an origin, without the usual port: a proxy may have added it to `Host`.
    const own = URL.parse(`${page.protocol}//${host}`)?.host
    return page.host !== own && page.host !== this.#publicHost
  }
}
