import { databaseAddress } from '../database-address.ts'
import { StartError } from '../../runtime/start-error.ts'

/** SQLSTATE of what no waiting mends, https://www.postgresql.org/docs/current/errcodes-appendix.html */
const refusals: Record<string, string> = {
  '28P01': 'refuses the user or the password',
  28000: 'does not let this user in from here',
  '3D000': 'has no such database: create it first',
  42501: 'does not allow this user to create what the service needs, a schema and tables'
}

/** What the driver says without a code. */
const messages: { words: RegExp, reason: string }[] = [
  { words: /password must be a string/, reason: 'asks for a password' },
  { words: /connection terminated/i, reason: 'closes every connection without an answer, as a server does that is no PostgreSQL' }
]

/**
 * Why the service cannot start with this database, in one sentence that names the database and not the password.
 * @param waitedMs how long it was waited for where it did not answer
 */
export function toStartError (error: unknown, databaseUrl: string, waitedMs: number): StartError {
  return new StartError(`DATABASE_URL cannot be used: ${databaseAddress(databaseUrl)} ${findReason(error, waitedMs)} (${errorMessage(error)})`, { cause: error })
}

/** A refused connection to several addresses is an error without words of its own. */
export function errorMessage (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.message || ('code' in error ? String(error.code) : error.name)
}

function findReason (error: unknown, waitedMs: number): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return refusals[code] ?? messages.find(({ words }) => words.test(errorMessage(error)))?.reason ??
    (waitedMs > 0 ? `could not be used within ${Math.round(waitedMs / 1000)} s` : 'does not work')
}
