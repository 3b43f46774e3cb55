import { errorCodes, errors, problem, ProblemError, type ErrorCode, type ProblemOptions } from '../../errors.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'
import { ArchiveUnavailableError } from '../videos/video-archive.ts'

/** Details for Fastify's own errors whose status alone says too little. */
const details: Record<string, string> = {
  FST_ERR_BAD_URL: 'The path of the address is not valid percent-encoded UTF-8',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'The body is empty although its Content-Type is application/json',
  FST_ERR_CTP_INVALID_JSON_BODY: 'The body is not valid JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body is not as long as its Content-Length says'
}

const unknownOutcome = 'The service lost the connection to its storage while it was writing, so it is not known whether this request took effect. Send it again: with the same Idempotency-Key no second task is created'

/** Turns anything that was thrown into the problem that the client gets. An error that was not made for clients becomes `internal_error`. */
export function toProblem (thrown: unknown): ProblemError {
  if (thrown instanceof ProblemError) return thrown
  if (thrown instanceof StoreUnavailableError) return problem('store_unavailable', { cause: thrown, ...(thrown.isOutcomeUnknown && { detail: unknownOutcome }) })
  if (thrown instanceof ArchiveUnavailableError) return problem('archive_unavailable', { cause: thrown })
  const { statusCode, code } = readMembers(thrown)
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode >= 500) return problem('internal_error', { cause: toError(thrown) })
  const options: ProblemOptions = typeof code === 'string' && details[code] !== undefined ? { detail: details[code] } : {}
  return problem(generalCode(statusCode), options)
}

function toError (thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`A value of type ${typeof thrown} was thrown instead of an error`)
}

/** @returns the general code for a 4xx status, which is the first one of that status in the table */
function generalCode (status: number): ErrorCode {
  return errorCodes.find((code) => errors[code].status === status) ?? 'bad_request'
}

function readMembers (thrown: unknown): { statusCode?: unknown, code?: unknown } {
  return typeof thrown === 'object' && thrown !== null ? thrown : {}
}
