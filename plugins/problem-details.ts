import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problem, problemBody, ProblemError, problemMediaType, type Fault } from '../errors.ts'
import { findHostFault } from '../services/http/host-header.ts'
import { InvalidValue } from '../services/http/query-string.ts'
import { describeFault, type SchemaFault } from '../services/http/validation-fault.ts'
import { toProblem } from '../services/http/to-problem.ts'
import { isHealthCheck } from './request-log.ts'

/** Headers that speak of the answer the route had in mind, not of the problem that is sent in its place. */
const successHeaders = [
  'accept-ranges', 'content-disposition', 'content-encoding', 'content-language', 'content-range', 'etag', 'expires',
  'last-modified', 'location', 'preference-applied', 'retry-after', 'set-cookie'
]

/** The parts of a request that a schema can check, and what `loc` calls them. */
const requestParts = { params: 'path', body: 'body', querystring: 'query', headers: 'header' } as const
type RequestPart = keyof typeof requestParts

/**
 * Gives every answer its `X-Request-Id` and every error the one shape. On the root instance only, before anything
 * that has hooks of its own: a request that no route takes is answered in the first hook, whatever its body.
 */
export default fp(async (app) => {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    const hostFault = findHostFault(request.raw.rawHeaders, request.raw.httpVersion)
    if (hostFault !== undefined) done(problem('bad_request', { detail: hostFault }))
    else done(request.is404 ? explainUnrouted(app, request) : undefined)
  })
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply))
  app.setNotFoundHandler((request, reply) => sendProblem(explainUnrouted(app, request), request, reply))
}, { name: 'problem-details' })

/** For anything thrown anywhere: logs what is the service's own fault, once, and answers. */
export function answerError (thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const faults = collectFaults(thrown, request)
  const answer = faults === undefined ? toProblem(thrown) : toValidationProblem(faults)
  if (answer.statusCode >= 500 && answer.cause !== undefined && !hasClientLeft(request)) {
    request.log[isHealthCheck(request) ? 'debug' : 'error']({ err: answer.cause }, 'request failed')
  }
  sendProblem(answer, request, reply)
}

function sendProblem (answer: ProblemError, request: FastifyRequest, reply: FastifyReply): void {
  for (const name of successHeaders) reply.removeHeader(name)
  // Fastify closes the connection at a body that is too large, and the client, still sending, would lose the answer.
  // Without this header Node reads the rest and throws it away, until the server cuts the connection.
  if (answer.code === 'payload_too_large') reply.removeHeader('connection')
  reply
    .code(answer.statusCode)
    .headers({ 'x-request-id': request.id, 'cache-control': 'no-store', ...answer.headers })
    .type(problemMediaType)
    // A buffer, because it goes out as it is: no response schema can strip it, no charset is added to its type.
    .send(Buffer.from(JSON.stringify(problemBody(answer, request.id))))
}

/** No route takes the request: is it the path that nobody knows, or only the method? */
function explainUnrouted (app: FastifyInstance, { method, raw }: FastifyRequest): ProblemError {
  const url = raw.url ?? '/'
  const allowed = app.supportedMethods.filter((known) => app.findRoute({ method: known, url }) !== null)
  // A route can find out by itself that there is nothing: a folder of files does.
  if (allowed.length === 0 || allowed.includes(method)) return problem('not_found')
  return problem('method_not_allowed', {
    detail: `${method} is not possible at this address, ${allowed.join(' and ')} ${allowed.length === 1 ? 'is' : 'are'}`,
    headers: { allow: allowed.join(', ') }
  })
}

function toValidationProblem (faults: Fault[]): ProblemError {
  const detail = faults.map(({ loc, msg }) => `${loc.slice(1).join('.')} ${msg}`.trim()).join('; ')
  return problem('validation_failed', { detail, faults })
}

/**
 * Every fault of a request that failed validation, undefined where something else went wrong. Fastify stops at the
 * first part that fails, so the others are looked at here.
 */
function collectFaults (thrown: unknown, request: FastifyRequest): Fault[] | undefined {
  if (!isValidationError(thrown)) return undefined
  return Object.keys(requestParts).flatMap((part) => {
    const { validation, validationContext } = thrown
    const found = part === validationContext ? validation : validatePart(part as RequestPart, request)
    return describePartFaults(part as RequestPart, found, request)
  })
}

function isValidationError (thrown: unknown): thrown is { validation: SchemaFault[], validationContext: string } {
  return thrown instanceof Error && 'validation' in thrown && Array.isArray(thrown.validation)
}

function validatePart (part: RequestPart, request: FastifyRequest): SchemaFault[] {
  const validate = request.getValidationFunction(part)
  if (typeof validate !== 'function' || validate(readPart(part, request))) return []
  return validate.errors ?? []
}

function readPart (part: RequestPart, request: FastifyRequest): unknown {
  return part === 'querystring' ? request.query : request[part]
}

function describePartFaults (part: RequestPart, found: SchemaFault[], request: FastifyRequest): Fault[] {
  const faults = found.map((fault) => describeFault(requestParts[part], fault))
  return part === 'querystring' ? reportInvalidValues(faults, request.query) : faults
}

/** Whatever the schema says of a value that could not be read at all, one fault says why. */
function reportInvalidValues (faults: Fault[], query: unknown): Fault[] {
  const values = new Map(Object.entries(Object(query)))
  const seen = new Set<string>()
  return faults.flatMap((fault) => {
    const name = fault.loc[1] ?? ''
    const value = values.get(name)
    if (!(value instanceof InvalidValue)) return [fault]
    if (seen.has(name)) return []
    seen.add(name)
    return [{ loc: fault.loc.slice(0, 2), msg: value.msg, type: value.type }]
  })
}

/** The client left in the middle of its request: whatever that broke is nobody's fault here. */
function hasClientLeft ({ raw }: FastifyRequest): boolean {
  return raw.destroyed && !raw.complete
}
