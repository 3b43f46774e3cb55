import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problem } from '../errors.ts'
import { CrossSiteGuard, type CrossSiteGuardOptions } from '../services/http/cross-site-guard.ts'
import { parseHostname } from '../services/http/host-header.ts'
import { isHealthCheck } from './request-log.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /**
     * Whether pages of any site may use this route, under any host name: who knows its address has the right to what is there. A page
     * that gets at the service by DNS rebinding does not know the address either.
     */
    allowsAnySite?: boolean
  }
}

/** Refused host names that are logged, each once. An operator needs only the first few. */
const maxLoggedHosts = 20

/**
 * Refuses requests that web pages of other sites send through a browser, where a request needs no API key: the network is the only other
 * limit there. A page cannot know a key.
 */
export default fp<CrossSiteGuardOptions>(async (app, options) => {
  const guard = new CrossSiteGuard(options)
  const loggedHosts = new Set<string>()

  app.addHook('onRequest', (request, _reply, done) => {
    const { forwardedHost, headers: { host } } = request
    if (!app.accessControl.isWithoutKey(request.raw.rawHeaders)) return done()
    // Probes address the instance by various names, and a health check reveals nothing.
    if (isHealthCheck(request) || allowsAnySite(request)) return done()
    // A page can set the header of a proxy, but not `Host`. The proxy may have changed `Host`, but then it says what it was.
    const refused = [host, forwardedHost].find((name) => !guard.isAllowedHost(name))
    if (refused !== undefined) {
      logOnce(parseHostname(refused) ?? '')
      return done(problem('forbidden_host'))
    }
    done(guard.isCrossSite(request) ? problem('cross_site_request') : undefined)
  })

  function logOnce (host: string): void {
    if (loggedHosts.has(host) || loggedHosts.size === maxLoggedHosts) return
    loggedHosts.add(host)
    app.log.warn({ host: host.slice(0, 253) }, 'Refused a host name that is not allowed: if it belongs to this service, add it to ALLOWED_HOSTS')
  }
}, { name: 'cross-site-guard', dependencies: ['problem-details', 'client-address', 'request-log', 'access'] })

function allowsAnySite ({ routeOptions }: FastifyRequest): boolean {
  return routeOptions.config?.allowsAnySite === true
}
