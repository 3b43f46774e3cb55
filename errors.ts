import { Type, type Static } from '@sinclair/typebox'
import { STATUS_CODES } from 'node:http'

interface ErrorKind {
  status: number
  /** What a person is told where nothing more exact is known. */
  detail: string
  headers?: Record<string, string>
}

/** Every error a client can meet, by its stable code. 502 and 504 are the load balancer's, `deploy/nginx.conf`. */
export const errors = {
  bad_request: { status: 400, detail: 'The request cannot be understood' },
  webhook_not_authentic: {
    status: 401,
    detail: 'The signature of the webhook does not fit, or it is older than five minutes',
    // Required with a 401. No scheme is registered for signatures of this kind: the name is that of their specification.
    headers: { 'www-authenticate': 'StandardWebhooks' }
  },
  keys_required: {
    status: 403,
    detail: 'Without API keys this is open to callers on the machine itself only: whoever knows no id must not find others’ dreams'
  },
  forbidden_host: {
    status: 403,
    detail: 'The service is not known by the host name of this request: set PUBLIC_URL, or name the host in ALLOWED_HOSTS'
  },
  cross_site_request: { status: 403, detail: 'Web pages of other sites cannot use this service: while it has no API keys it only serves its own' },
  not_found: { status: 404, detail: 'There is nothing at this address' },
  task_not_found: { status: 404, detail: 'There is no task with this id' },
  method_not_allowed: { status: 405, detail: 'This address does not take this method' },
  request_timeout: { status: 408, detail: 'The request did not arrive in time, send it again' },
  task_finished: { status: 409, detail: 'The task has ended already' },
  task_not_finished: { status: 409, detail: 'The task has not ended yet: cancel it first' },
  idempotency_key_task_deleted: {
    status: 410,
    detail: 'The task that was made with this Idempotency-Key has been deleted; to make another one, send a new key'
  },
  payload_too_large: { status: 413, detail: 'The body of the request is too large' },
  uri_too_long: { status: 414, detail: 'The address of the request is too long' },
  unsupported_media_type: { status: 415, detail: 'The Content-Type of the request cannot be read here' },
  range_not_satisfiable: { status: 416, detail: 'The Range that was asked for lies outside of what there is' },
  expectation_failed: { status: 417, detail: 'The only Expect header that can be met is 100-continue' },
  validation_failed: { status: 422, detail: 'A value of the request cannot be used' },
  idempotency_key_reused: { status: 422, detail: 'This Idempotency-Key was used for another request within the last 24 hours' },
  headers_too_large: { status: 431, detail: 'The address and the headers of the request are larger than 128 KiB' },
  internal_error: { status: 500, detail: 'The service failed at this request, try again later' },
  bad_gateway: { status: 502, detail: 'No instance of the service answered, try again in a few seconds' },
  gateway_timeout: { status: 504, detail: 'The service did not answer in time, try again in a few seconds' },
  store_unavailable: {
    status: 503,
    detail: 'The service cannot reach its storage at the moment, try again in a few seconds',
    headers: { 'retry-after': '5' }
  },
  webhook_unverifiable: {
    status: 503,
    detail: 'Webhooks cannot be verified yet, send it again in a few seconds',
    headers: { 'retry-after': '5' }
  },
  stopping: { status: 503, detail: 'This instance is about to stop, ask another one', headers: { 'retry-after': '5' } }
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errors
export const errorCodes = Object.keys(errors) as ErrorCode[]

/** JSON is UTF-8 by definition, so the type has no charset parameter. */
export const problemMediaType = 'application/problem+json'

export const FaultSchema = Type.Object({
  loc: Type.Array(Type.String(), {
    description: 'Where the fault is: `query`, `path`, `header` or `body`, then the members that lead to it'
  }),
  msg: Type.String({ description: 'What the value has to be, to be read after its name' }),
  type: Type.String({ description: 'The kind of the fault, stable, for programs' })
})
export type Fault = Static<typeof FaultSchema>

const exampleRequestId = '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21'
const validationExample = {
  type: 'about:blank',
  title: 'Unprocessable Entity',
  status: 422,
  detail: 'style must be one of Realistic, Animated, Cursed',
  code: 'validation_failed' as const,
  request_id: exampleRequestId,
  errors: [{ loc: ['query', 'style'], msg: 'must be one of Realistic, Animated, Cursed', type: 'enum' }]
}

export const ProblemSchema = Type.Object({
  type: Type.String({ description: 'Always `about:blank`: the status says what kind of problem it is' }),
  title: Type.String({ description: 'The name of the status' }),
  status: Type.Integer({ format: 'int32', minimum: 400, maximum: 599, description: 'The HTTP status' }),
  detail: Type.String({ description: 'What went wrong, for people' }),
  code: Type.Unsafe<ErrorCode>({ type: 'string', enum: errorCodes, description: 'What went wrong, stable, for programs' }),
  request_id: Type.String({ format: 'uuid', description: 'Names this request in the service’s log, as does the header `X-Request-Id`' }),
  errors: Type.Optional(Type.Array(FaultSchema, { minItems: 1, description: 'With 422 only: every fault of the request' }))
}, {
  $id: 'Problem',
  description: 'An error, as RFC 9457 has it',
  examples: [validationExample]
})
export type Problem = Static<typeof ProblemSchema>

export interface ProblemOptions {
  /** A sentence that a person can act on; never holds what the client sent, nor internals. */
  detail?: string
  faults?: Fault[]
  headers?: Record<string, string>
  /** What is logged with a 5xx. */
  cause?: unknown
}

/** An error that is meant for the client. A class of our own, for it carries faults and headers beside code and status. */
export class ProblemError extends Error {
  override name = 'ProblemError'
  readonly code: ErrorCode
  readonly statusCode: number
  readonly headers: Record<string, string>
  readonly faults: Fault[] | undefined

  constructor (code: ErrorCode, { detail, faults, headers, cause }: ProblemOptions = {}) {
    const kind: ErrorKind = errors[code]
    super(detail ?? kind.detail, cause === undefined ? {} : { cause })
    this.code = code
    this.statusCode = kind.status
    this.headers = { ...kind.headers, ...headers }
    this.faults = faults
  }
}

/** For routes: `throw problem('task_not_found')`. */
export function problem (code: ErrorCode, options?: ProblemOptions): ProblemError {
  return new ProblemError(code, options)
}

/** The body of the answer, by contract in this order. */
export function problemBody (error: ProblemError, requestId: string): Problem {
  return {
    type: 'about:blank',
    title: reasonPhrase(error.statusCode),
    status: error.statusCode,
    detail: error.message,
    code: error.code,
    request_id: requestId,
    ...(error.faults && { errors: error.faults })
  }
}

/** @returns the reason phrase of a status */
export function reasonPhrase (status: number): string {
  return STATUS_CODES[status] ?? 'Error'
}

/**
 * For a route's response schema: the problems it is known to answer, by status, each with an example. Problems are
 * serialised by the routes that send them, so this only describes. What any route can answer, `services/http/common-responses.ts` adds.
 */
export function problemResponses (...codes: ErrorCode[]): Record<number, object> {
  const byStatus = Map.groupBy(codes, (code) => errors[code].status)
  return Object.fromEntries(Array.from(byStatus, ([status, sameStatus]) => [status, {
    description: sameStatus.map((code) => `\`${code}\`: ${errors[code].detail}`).join('. '),
    ...(sameStatus.some((code) => 'headers' in errors[code]) && { headers: retryAfter }),
    content: { [problemMediaType]: { schema: Type.Ref('Problem'), examples: problemExamples(sameStatus) } }
  }]))
}

const retryAfter = { 'Retry-After': Type.Integer({ format: 'int32', description: 'Seconds to wait before trying again' }) }

/** For the document: an example of each problem, by its code. */
export function problemExamples (codes: readonly ErrorCode[]): Record<string, { value: Problem }> {
  return Object.fromEntries(codes.map((code) => [code, { value: exampleProblem(code) }]))
}

function exampleProblem (code: ErrorCode): Problem {
  return code === 'validation_failed' ? validationExample : problemBody(problem(code), exampleRequestId)
}
