import { StartError } from '../../runtime/start-error.ts'
import { databaseAddress } from '../database-address.ts'

/** SQLSTATE codes of errors that do not go away by waiting: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const refusals: Record<string, string> = {
  '28P01': 'refuses the user or the password',
  28000: 'does not accept this user from this address',
  '3D000': 'has no such database: create it first',
  42501: 'does not allow this user to create what the service needs, a schema and tables'
}

/** Errors of the driver that have a message but no code. */
const messages: { pattern: RegExp, reason: string }[] = [
  { pattern: /password must be a string/, reason: 'asks for a password' },
  { pattern: /connection terminated/i, reason: 'closes every connection without an answer: it may not be a PostgreSQL server' }
]

/**
 * Why the service cannot start with this database, in one sentence that names the database and not the password.
 * @param waitedMs how long the service has waited for a database that did not answer, 0 if it did not wait
 */
export function toStartError (error: unknown, databaseUrl: string, waitedMs: number): StartError {
  return new StartError(`DATABASE_URL cannot be used: ${databaseAddress(databaseUrl)} ${findReason(error, waitedMs)} (${errorMessage(error)})`, { cause: error })
}

/** The message of an error. An error about refused connections to several addresses has none, so its code stands for it. */
export function errorMessage (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message || ('code' in error ? String(error.code) : error.name)
}

function findReason (error: unknown, waitedMs: number): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return refusals[code] ?? messages.find(({ pattern }) => pattern.test(errorMessage(error)))?.reason ??
    (waitedMs > 0 ? `could not be used within ${Math.round(waitedMs / 1000)} s` : 'does not work')
}
