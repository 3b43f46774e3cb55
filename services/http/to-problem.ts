import { errorCodes, errors, problem, ProblemError, type ErrorCode, type ProblemOptions } from '../../errors.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'

/** Our words for Fastify's own errors, where the status alone would say too little. */
const details: Record<string, string> = {
  FST_ERR_BAD_URL: 'The path of the address is not valid percent-encoded UTF-8',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'The body is empty although its Content-Type is application/json',
  FST_ERR_CTP_INVALID_JSON_BODY: 'The body is not valid JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body is not as long as its Content-Length says'
}

const unknownOutcome = 'The service lost its storage while it wrote: it is not known whether this request has been carried out. Send it again: with the same Idempotency-Key no second task is made'

/** What the client is told of whatever was thrown. A thing that nobody meant for a client becomes `internal_error`. */
export function toProblem (thrown: unknown): ProblemError {
  if (thrown instanceof ProblemError) return thrown
  if (thrown instanceof StoreUnavailableError) return problem('store_unavailable', { cause: thrown, ...(thrown.isOutcomeUnknown && { detail: unknownOutcome }) })
  const { statusCode, code } = readMembers(thrown)
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode >= 500) return problem('internal_error', { cause: toError(thrown) })
  const options: ProblemOptions = typeof code === 'string' && details[code] !== undefined ? { detail: details[code] } : {}
  return problem(generalCode(statusCode), options)
}

function toError (thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`What was thrown is no error but of type ${typeof thrown}`)
}

/** The general code of a 4xx: the first of its status in the table. */
function generalCode (status: number): ErrorCode {
  return errorCodes.find((code) => errors[code].status === status) ?? 'bad_request'
}

function readMembers (thrown: unknown): { statusCode?: unknown, code?: unknown } {
  return typeof thrown === 'object' && thrown !== null ? thrown : {}
}
