import { problemExamples, problemMediaType, type ErrorCode } from '../../errors.ts'

interface Operation { responses?: Record<string, { headers?: object }> }

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
    RequestId: { description: 'The id of this request in the service’s log', schema: { type: 'string' as const, minLength: 1, maxLength: 128 } }
  },
  responses: {
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
      ['internal_error', 'bad_gateway', 'gateway_timeout']
    )
  }
}

/** Adds the common error responses to each operation, and the header `X-Request-Id` to each of its own responses. */
export function addCommonResponses (paths: Record<string, object | undefined>): void {
  for (const operation of Object.values(paths).flatMap((path): Operation[] => Object.values(path ?? {}))) {
    for (const response of Object.values(operation.responses ?? {})) {
      response.headers = { ...response.headers, ...requestIds }
    }
    Object.assign(operation.responses ?? {}, {
      '4XX': { $ref: '#/components/responses/ClientError' },
      '5XX': { $ref: '#/components/responses/ServerError' }
    })
  }
}
