import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problem, type ProblemError } from '../errors.ts'

/**
 * Answers requests for addresses that do not exist, or do not support the method, before their body is read and whatever it is. Register
 * it after the plugins whose headers these answers need, and before all others with hooks.
 */
export default fp(async (app) => {
  app.addHook('onRequest', (request, _reply, done) => done(isUnrouted(request) ? explainUnrouted(app, request) : undefined))
  app.setNotFoundHandler((request) => { throw explainUnrouted(app, request) })
}, { name: 'unknown-addresses', dependencies: ['problem-details', 'cross-origin'] })

/** The route for all OPTIONS requests belongs to the cross-origin plugin, which has answered those that it knows. */
function isUnrouted (request: FastifyRequest): boolean {
  return request.is404 || (request.method === 'OPTIONS' && request.routeOptions.url === '*')
}

/** @returns whether the path of a request without a route is unknown, or only its method is not supported */
function explainUnrouted (app: FastifyInstance, { method, raw }: FastifyRequest): ProblemError {
  const url = raw.url ?? '/'
  const allowed = app.supportedMethods.filter((known) => known !== 'OPTIONS' && app.findRoute({ method: known, url }) !== null)
  // A route can also respond that nothing exists: the one that serves files from a folder does.
  if (allowed.length === 0 || allowed.includes(method)) return problem('not_found')
  return problem('method_not_allowed', {
    detail: `This address does not support ${method}, only ${allowed.join(' and ')}`,
    headers: { allow: allowed.join(', ') }
  })
}
