import { errors, problemExamples, problemMediaType, type ErrorCode } from '../../errors.ts'

interface Operation { security?: unknown[], responses?: Record<string, { headers?: object }> }

const limits = {
  RateLimit: { $ref: '#/components/headers/RateLimit' },
  'RateLimit-Policy': { $ref: '#/components/headers/RateLimitPolicy' }
}
const requestIds = { 'X-Request-Id': { $ref: '#/components/headers/RequestId' } }

function describeProblem (description: string, headers: Record<string, { description: string, schema: object }>, codes: ErrorCode[]) {
  return {
    description,
    headers: { ...headers, ...requestIds },
    content: { [problemMediaType]: { schema: { $ref: '#/components/schemas/Problem' }, examples: problemExamples(codes) } }
  }
}

/** OpenAPI components of the responses that any operation can have, also from the server itself or a load balancer. */
export const commonComponents = {
  headers: {
    RequestId: { description: 'The id of this request in the service’s log', schema: { type: 'string' as const, minLength: 1, maxLength: 128 } },
    RateLimit: { description: 'How many requests are left (`r`) of each limit, and in how many seconds it is renewed (`t`). Absent without limits', schema: { type: 'string' as const } },
    RateLimitPolicy: { description: 'How many requests each limit allows (`q`) in how many seconds (`w`)', schema: { type: 'string' as const } }
  },
  responses: {
    TooManyRequests: describeProblem(
      errors.too_many_requests.detail,
      { 'Retry-After': { description: 'The number of seconds to wait before trying again', schema: { type: 'integer', format: 'int32' } } },
      ['too_many_requests']
    ),
    ClientError: describeProblem(
      'Any other error of the request',
      {
        Allow: { description: 'The methods that this address supports; only with 405', schema: { type: 'string' } },
        'WWW-Authenticate': { description: 'The scheme of the key that is needed; only with 401', schema: { type: 'string' } }
      },
      ['bad_request', 'api_key_missing', 'api_key_invalid', 'forbidden_host', 'cross_site_request', 'method_not_allowed', 'request_timeout', 'uri_too_long', 'expectation_failed', 'headers_too_large']
    ),
    ServerError: describeProblem(
      'The service cannot handle the request at the moment',
      { 'Retry-After': { description: 'The number of seconds to wait before trying again; only with 503', schema: { type: 'integer', format: 'int32' } } },
      ['internal_error', 'bad_gateway', 'gateway_timeout', 'overloaded']
    )
  }
}

/** Adds the common error responses to each operation, and to its own responses the headers `X-Request-Id` and, where it is limited, `RateLimit`. */
export function addCommonResponses (paths: Record<string, object | undefined>): void {
  for (const operation of Object.values(paths).flatMap((path): Operation[] => Object.values(path ?? {}))) {
    // Operations that admit everyone say so; only those with callers are limited.
    const isLimited = operation.security === undefined
    for (const response of Object.values(operation.responses ?? {})) {
      response.headers = { ...response.headers, ...requestIds, ...(isLimited && limits) }
    }
    Object.assign(operation.responses ?? {}, {
      ...(isLimited && { 429: operation.responses?.[429] ?? { $ref: '#/components/responses/TooManyRequests' } }),
      '4XX': { $ref: '#/components/responses/ClientError' },
      '5XX': { $ref: '#/components/responses/ServerError' }
    })
  }
}
