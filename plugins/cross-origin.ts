import fastifyCors, { type FastifyCorsOptions } from '@fastify/cors'
import fp from 'fastify-plugin'
import type { AllowedOrigins } from '../services/http/allowed-origins.ts'

export interface CrossOriginOptions {
  /** the origins whose pages may use the service; undefined if only pages of its own origin may */
  origins: AllowedOrigins | undefined
}

/** What a script may read besides the body. A few more are always readable, such as `Cache-Control` and `Content-Type`. */
const exposedHeaders = [
  'Allow', 'ETag', 'Idempotency-Replayed', 'Location', 'Preference-Applied', 'RateLimit', 'RateLimit-Policy', 'Retry-After', 'WWW-Authenticate',
  'X-Request-Id'
]
/** What a script may send. */
const allowedHeaders = [
  'Authorization', 'Cache-Control', 'Content-Type', 'Idempotency-Key', 'If-None-Match', 'Last-Event-ID', 'Prefer', 'Range', 'traceparent', 'tracestate'
]
/** How long a browser may remember the answer to a preflight: Chromium remembers none for longer than two hours. */
const preflightMaxAgeSeconds = 7_200

/**
 * Lets the scripts of pages of other origins use the service (CORS). A preflight has no API key, so it is answered before keys are
 * checked. Register it before all plugins that refuse requests: a page can read a refusal only if it has these headers, too. Cookies and
 * passwords that the browser has stored are never sent. Routes with headers of their own set `cors: false` in their `config`.
 */
export default fp<CrossOriginOptions>(async (app, { origins }) => {
  if (origins === undefined) return
  const common = { methods: ['GET', 'HEAD', 'POST', 'DELETE'], exposedHeaders, allowedHeaders, maxAge: preflightMaxAgeSeconds }
  const refused: FastifyCorsOptions = { origin: false }

  await app.register(fastifyCors, {
    delegator: ({ headers }, done) => {
      const { origin } = headers
      if (origin === undefined || !(origins === 'any' || origins.has(origin))) return done(null, refused)
      // Without that header it is no preflight, but a request with the method OPTIONS, which no address supports.
      const preflight = headers['access-control-request-method'] !== undefined
      done(null, { ...common, origin: origins === 'any' ? '*' : origin, preflight })
    }
  })
}, { name: 'cross-origin', dependencies: ['problem-details'] })
