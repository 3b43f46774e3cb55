import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problem, problemBody, ProblemError, problemMediaType, type Fault } from '../errors.ts'
import { findHostFault } from '../services/http/host-header.ts'
import { InvalidValue } from '../services/http/query-string.ts'
import { toProblem } from '../services/http/to-problem.ts'
import { describeFault, type SchemaFault } from '../services/http/validation-fault.ts'
import { isHealthCheck } from './request-log.ts'

/** Headers that describe the response of the route, not the problem that is sent instead. */
const successHeaders = [
  'accept-ranges', 'content-disposition', 'content-encoding', 'content-language', 'content-range', 'etag', 'expires',
  'last-modified', 'location', 'preference-applied', 'retry-after', 'set-cookie'
]

/** The parts of a request that a schema can validate, and their names in `loc`. */
const requestParts = { params: 'path', body: 'body', querystring: 'query', headers: 'header' } as const
type RequestPart = keyof typeof requestParts

/**
 * Adds `X-Request-Id` and `X-Content-Type-Options` to every response and gives all errors the same format. Register it on the root instance before all plugins with
 * hooks.
 */
export default fp(async (app) => {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    // A browser takes each answer for what its Content-Type says, and nothing else.
    reply.header('x-content-type-options', 'nosniff')
    const hostFault = findHostFault(request.raw.rawHeaders, request.raw.httpVersion)
    done(hostFault === undefined ? undefined : problem('bad_request', { detail: hostFault }))
  })
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply))
}, { name: 'problem-details' })

/** Responds to an error. Logs it if it is the service's own fault; this is the only place that does. */
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
  // Fastify closes the connection if a body is too large, and a client that is still sending would lose the response. Without this
  // header Node reads the rest and throws it away until the server closes the connection.
  if (answer.code === 'payload_too_large') reply.removeHeader('connection')
  reply
    .code(answer.statusCode)
    // The first two are missing if a request fails before any hook.
    .headers({ 'x-request-id': request.id, 'x-content-type-options': 'nosniff', 'cache-control': 'no-store', ...answer.headers })
    .type(problemMediaType)
    // A buffer is sent as it is: no response schema removes members, and no charset is added to the type.
    .send(Buffer.from(JSON.stringify(problemBody(answer, request.id))))
}

function toValidationProblem (faults: Fault[]): ProblemError {
  const detail = faults.map(({ loc, msg }) => `${loc.slice(1).join('.')} ${msg}`.trim()).join('; ')
  return problem('validation_failed', { detail, faults })
}

/**
 * Collects all faults of a request. Fastify stops at the first part that is not valid, so the others are validated here.
 * @returns undefined if the error is not about validation
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

/** Replaces all faults of a value that was already invalid in the query string by the one that says why. */
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

/** Whether the client left before its request was complete. Errors that follow from that are not the service's fault. */
function hasClientLeft ({ raw }: FastifyRequest): boolean {
  return raw.destroyed && !raw.complete
}
