import fp from 'fastify-plugin'
import { problem } from '../errors.ts'
import { ForeignPages, type ForeignPagesOptions } from '../services/http/foreign-pages.ts'
import { hostNameOf } from '../services/http/host-header.ts'
import { isHealthCheck } from './request-log.ts'

/** So many host names are named in the log, each once: an operator needs the first few. */
const mostNamed = 20

/** Without API keys anyone who reaches the service may use it, but no web page of a stranger through a browser that does. */
export default fp<ForeignPagesOptions>(async (app, options) => {
  const foreignPages = new ForeignPages(options)
  const named = new Set<string>()

  app.addHook('onRequest', (request, _reply, done) => {
    const { host } = request.headers
    // Probes name the instance in their own ways, and learn nothing that is worth hiding.
    if (isHealthCheck(request)) return done()
    if (!foreignPages.isOwnHost(host)) {
      nameOnce(hostNameOf(host ?? '') ?? '')
      return done(problem('forbidden_host'))
    }
    done(foreignPages.isCrossSite(request) ? problem('cross_site_request') : undefined)
  })

  function nameOnce (host: string): void {
    if (named.has(host) || named.size === mostNamed) return
    named.add(host)
    app.log.warn({ host: host.slice(0, 253) }, 'Refused a host that is not known: if it leads here, name it in ALLOWED_HOSTS')
  }
}, { name: 'foreign-pages', dependencies: ['problem-details', 'request-log'] })
