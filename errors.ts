import { Type, type Static } from '@sinclair/typebox'
import { STATUS_CODES } from 'node:http'

interface ErrorKind {
  status: number
  /** the sentence for people if there is no more exact one */
  detail: string
  headers?: Record<string, string>
}

/** Every error that a client can get, by its stable code. 502 and 504 come from the load balancer, see `deploy/nginx.conf`. */
export const errors = {
  bad_request: { status: 400, detail: 'The request is malformed' },
  webhook_not_authentic: {
    status: 401,
    detail: 'The signature of the webhook is not valid, or it is older than five minutes',
    // A 401 requires this header. No scheme is registered for such signatures, so it names their specification.
    headers: { 'www-authenticate': 'StandardWebhooks' }
  },
  api_key_missing: {
    status: 401,
    detail: 'This needs an API key: send it in the header Authorization, after the word Bearer',
    headers: { 'www-authenticate': 'Bearer realm="Dreamreel"' }
  },
  api_key_invalid: {
    status: 401,
    detail: 'The header Authorization does not contain a valid API key of this service',
    headers: { 'www-authenticate': 'Bearer realm="Dreamreel", error="invalid_token"' }
  },
  admin_required: { status: 403, detail: 'Only an API key with the right `admin` can do this' },
  keys_required: {
    status: 403,
    detail: 'Only callers on the machine itself may do this while the service has no API keys: others must not learn of tasks whose id they do not know'
  },
  forbidden_host: {
    status: 403,
    detail: 'The host name of this request is not allowed: set PUBLIC_URL, or add the name to ALLOWED_HOSTS'
  },
  cross_site_request: { status: 403, detail: 'Web pages of this origin cannot use the service without an API key: the operator has to allow the origin with CORS_ORIGINS' },
  not_found: { status: 404, detail: 'Nothing exists at this address' },
  task_not_found: { status: 404, detail: 'No task has this id' },
  video_not_found: { status: 404, detail: 'No video and no poster has this name' },
  method_not_allowed: { status: 405, detail: 'This address does not support this method' },
  request_timeout: { status: 408, detail: 'The request did not arrive in time; send it again' },
  task_finished: { status: 409, detail: 'The task has already ended' },
  task_not_finished: { status: 409, detail: 'The task has not ended yet; cancel it first' },
  idempotency_key_task_deleted: {
    status: 410,
    detail: 'The task that was created with this Idempotency-Key has been deleted; to create another one, send a new key'
  },
  video_gone: { status: 410, detail: 'The video was lost: its file does not exist any more' },
  precondition_failed: { status: 412, detail: 'The file is not the one that If-Match or If-Unmodified-Since expects' },
  payload_too_large: { status: 413, detail: 'The body of the request is too large' },
  uri_too_long: { status: 414, detail: 'The address of the request is too long' },
  unsupported_media_type: { status: 415, detail: 'The Content-Type of the request is not supported here' },
  range_not_satisfiable: { status: 416, detail: 'The requested Range lies outside of the content' },
  expectation_failed: { status: 417, detail: 'The only supported Expect header is 100-continue' },
  validation_failed: { status: 422, detail: 'A value of the request is not valid' },
  idempotency_key_reused: { status: 422, detail: 'This Idempotency-Key was used for a different request within the last 24 hours' },
  too_many_requests: { status: 429, detail: 'Too many requests within a minute; send it again after the number of seconds in Retry-After' },
  too_many_open_tasks: {
    status: 429,
    detail: 'This API key, or all callers without a key, have as many unfinished tasks as they may have; send it again when one of them has ended',
    headers: { 'retry-after': '30' }
  },
  headers_too_large: { status: 431, detail: 'The address and the headers of the request are larger than 128 KiB' },
  internal_error: { status: 500, detail: 'The service failed to handle this request; try again later' },
  bad_gateway: { status: 502, detail: 'No instance of the service answered; try again in a few seconds' },
  gateway_timeout: { status: 504, detail: 'The service did not answer in time; try again in a few seconds' },
  store_unavailable: {
    status: 503,
    detail: 'The service cannot reach its storage at the moment; try again in a few seconds',
    headers: { 'retry-after': '5' }
  },
  archive_unavailable: {
    status: 503,
    detail: 'The service cannot reach the archive of the videos at the moment; try again in a few seconds',
    headers: { 'retry-after': '5' }
  },
  service_full: {
    status: 503,
    detail: 'The service has as many unfinished tasks as it may have; no task was created, try again later',
    headers: { 'retry-after': '30' }
  },
  webhook_unverifiable: {
    status: 503,
    detail: 'Webhooks cannot be verified yet; send it again in a few seconds',
    headers: { 'retry-after': '5' }
  },
  overloaded: {
    status: 503,
    detail: 'This instance has more work than it can do at the moment; try again in a few seconds',
    headers: { 'retry-after': '5' }
  },
  stopping: { status: 503, detail: 'This instance is about to stop; use another one', headers: { 'retry-after': '5' } }
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errors
export const errorCodes = Object.keys(errors) as ErrorCode[]

/** The type has no charset parameter, because JSON is always UTF-8. */
export const problemMediaType = 'application/problem+json'

export const FaultSchema = Type.Object({
  loc: Type.Array(Type.String(), {
    description: 'The location of the fault: `query`, `path`, `header` or `body`, then the names of the members that lead to it'
  }),
  msg: Type.String({ description: 'The rest of a sentence that begins with the name of the value, such as `must not be empty`' }),
  type: Type.String({ description: 'The kind of the fault, a stable code for programs' })
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
  type: Type.String({ description: 'Always `about:blank`: `code` says what kind of problem it is' }),
  title: Type.String({ description: 'The reason phrase of the status' }),
  status: Type.Integer({ format: 'int32', minimum: 400, maximum: 599, description: 'The HTTP status' }),
  detail: Type.String({ description: 'What went wrong, a sentence for people' }),
  code: Type.Unsafe<ErrorCode>({ type: 'string', enum: errorCodes, description: 'What went wrong, a stable code for programs' }),
  request_id: Type.String({ minLength: 1, maxLength: 128, description: 'The id of this request in the service’s log and in the header `X-Request-Id`: a UUID, or what a proxy in front of the service has chosen' }),
  errors: Type.Optional(Type.Array(FaultSchema, { minItems: 1, description: 'Every fault of the request; only with 422 and the code `validation_failed`' }))
}, {
  $id: 'Problem',
  description: 'An error, as defined by RFC 9457',
  examples: [validationExample]
})
export type Problem = Static<typeof ProblemSchema>

export interface ProblemOptions {
  /** a sentence that people can act on, without values that the client sent and without internals */
  detail?: string
  faults?: Fault[]
  headers?: Record<string, string>
  /** the error to log with a 5xx */
  cause?: unknown
}

/** An error for the client. Besides code and status it has the faults and the headers of the response. */
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

/** Makes an error for routes to throw: `throw problem('task_not_found')`. */
export function problem (code: ErrorCode, options?: ProblemOptions): ProblemError {
  return new ProblemError(code, options)
}

/** @returns the body of the response; the order of its members is part of the contract */
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

/** @returns the reason phrase of a status, such as `Not Found` */
export function reasonPhrase (status: number): string {
  return STATUS_CODES[status] ?? 'Error'
}

/**
 * Describes the problems that a route responds with, for its response schema, by status and with an example each. This is
 * documentation only: `plugins/problem-details.ts` serialises problems. `services/http/common-responses.ts` adds those of any route.
 */
export function problemResponses (...codes: ErrorCode[]): Record<number, object> {
  const byStatus = Map.groupBy(codes, (code) => errors[code].status)
  return Object.fromEntries(Array.from(byStatus, ([status, sameStatus]) => [status, {
    description: sameStatus.map((code) => `\`${code}\`: ${errors[code].detail}`).join('. '),
    ...(sameStatus.some((code) => 'headers' in errors[code]) && { headers: retryAfter }),
    content: { [problemMediaType]: { schema: Type.Ref('Problem'), examples: problemExamples(sameStatus) } }
  }]))
}

const retryAfter = { 'Retry-After': Type.Integer({ format: 'int32', description: 'The number of seconds to wait before trying again' }) }

/** @returns an OpenAPI example of each problem, by its code */
export function problemExamples (codes: readonly ErrorCode[]): Record<string, { value: Problem }> {
  return Object.fromEntries(codes.map((code) => [code, { value: exampleProblem(code) }]))
}

function exampleProblem (code: ErrorCode): Problem {
  return code === 'validation_failed' ? validationExample : problemBody(problem(code), exampleRequestId)
}
