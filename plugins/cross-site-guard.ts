import fp from 'fastify-plugin'
import { problem } from '../errors.ts'
import { CrossSiteGuard, type CrossSiteGuardOptions } from '../services/http/cross-site-guard.ts'
import { parseHostname } from '../services/http/host-header.ts'
import { isHealthCheck } from './request-log.ts'

/** So many host names are named in the log, each once: an operator needs the first few. */
const maxLoggedHosts = 20

/** Without API keys anyone who reaches the service may use it, but no web page of a stranger through a browser that does. */
export default fp<CrossSiteGuardOptions>(async (app, options) => {
  const guard = new CrossSiteGuard(options)
  const loggedHosts = new Set<string>()

  app.addHook('onRequest', (request, _reply, done) => {
    const { host } = request.headers
    // Probes name the instance in their own ways, and learn nothing that is worth hiding.
    if (isHealthCheck(request)) return done()
    if (!guard.isAllowedHost(host)) {
      logOnce(parseHostname(host ?? '') ?? '')
      return done(problem('forbidden_host'))
    }
    done(guard.isCrossSite(request) ? problem('cross_site_request') : undefined)
  })

  function logOnce (host: string): void {
    if (loggedHosts.has(host) || loggedHosts.size === maxLoggedHosts) return
    loggedHosts.add(host)
    app.log.warn({ host: host.slice(0, 253) }, 'Refused a host that is not known: if it leads here, name it in ALLOWED_HOSTS')
  }
}, { name: 'cross-site-guard', dependencies: ['problem-details', 'request-log'] })
