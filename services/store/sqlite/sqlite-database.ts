import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { StartError } from '../../runtime/start-error.ts'

const migrationsFolder = new URL('../../../migrations/sqlite/', import.meta.url)

const ownerOnly = 0o600

/** What `errcode` of an error of node:sqlite holds: https://www.sqlite.org/rescode.html */
export const sqliteResult = { busy: 5, readOnly: 8, corrupt: 11, cannotOpen: 14, tooBig: 18, constraint: 19, mismatch: 20, notADatabase: 26, uniqueViolation: 2067 } as const

/** The result code of an error that SQLite gave, or undefined for any other error. */
export function sqliteResultCode (error: unknown): number | undefined {
  if (error instanceof Error && 'errcode' in error && typeof error.errcode === 'number') return error.errcode
  return undefined
}

/** The kind of the error, without what SQLite adds to it. */
export function primaryResultCode (error: unknown): number | undefined {
  const result = sqliteResultCode(error)
  return result === undefined ? undefined : result & 0xff
}

/** Whether the same work may succeed later. What SQLite or its driver refuses because of the values themselves never will. */
export function isTransient (error: unknown): boolean {
  const result = primaryResultCode(error)
  if (result === undefined) return !(error instanceof TypeError || error instanceof RangeError)
  return result !== sqliteResult.tooBig && result !== sqliteResult.constraint && result !== sqliteResult.mismatch
}

/**
 * Opens the database for this process alone, durable at every commit, and brings it to the newest schema.
 * @param path of the file, or `:memory:`
 * @throws StartError when another process has it, a newer release wrote it, or it cannot be used at all
 */
export function openDatabase (path: string): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    database = openPrivately(path)
    takeForThisProcess(database)
    migrate(database, path)
    return database
  } catch (error) {
    database?.close()
    throw toStartError(error, path)
  }
}

function toStartError (error: unknown, path: string): unknown {
  const result = primaryResultCode(error)
  if (!(error instanceof Error) || result === undefined) return error
  return new StartError(`${path} ${sentences[result] ?? `cannot be used: ${error.message}`}`, { cause: error })
}

const restore = 'Restore it from a backup, or move it away to start without any tasks.'
const sentences: Record<number, string> = {
  [sqliteResult.busy]: 'is in use by another Dreamreel process. Only one process can work on a DATA_DIR: stop the other one, or give this one a DATA_DIR of its own. Several instances share a PostgreSQL, DATABASE_URL.',
  [sqliteResult.notADatabase]: `is not a SQLite database. ${restore}`,
  [sqliteResult.corrupt]: `is damaged or was cut short. ${restore}`,
  [sqliteResult.cannotOpen]: 'cannot be opened. It has to be a file that this user may read and write.',
  [sqliteResult.readOnly]: 'cannot be written to. It has to be a file that this user may read and write.'
}

/** Dreams are their dreamers' own. SQLite gives the files beside the database the permissions of the database. */
function openPrivately (path: string): DatabaseSync {
  const umask = process.umask(0o077)
  try {
    const database = new DatabaseSync(path)
    if (path !== ':memory:') restrictToOwner(path)
    return database
  } finally {
    process.umask(umask)
  }
}

function restrictToOwner (path: string): void {
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    try {
      chmodSync(file, ownerOnly)
    } catch {
      // There is no such file yet, or it belongs to another user, who has let this process work on it.
    }
  }
}

/** The order matters: with journal_mode first, a second process gets as far as changing the schema. */
function takeForThisProcess (database: DatabaseSync): void {
  database.exec('pragma locking_mode = exclusive')
  database.exec('pragma journal_mode = wal')
  database.exec('pragma synchronous = full')
  database.exec('begin immediate; commit')
}

/** Applies what is missing of `migrations/sqlite/NNNN-name.sql`, all of it or nothing. */
function migrate (database: DatabaseSync, path: string): void {
  const files = readdirSync(migrationsFolder).filter((name) => name.endsWith('.sql')).sort()
  const applied = Number(database.prepare('pragma user_version').get()?.user_version)
  if (applied > files.length) {
    throw new StartError(`The database was written by a newer release of Dreamreel (schema ${applied}, this release knows ${files.length}). Start that release again.`)
  }
  if (applied === files.length) return
  if (applied === 0 && database.prepare('select 1 from sqlite_schema').get() !== undefined) {
    throw new StartError(`${path} is the database of another program. Give this one a DATA_DIR of its own.`)
  }
  const steps = files.slice(applied).map((name) => readFileSync(new URL(name, migrationsFolder), 'utf8'))
  database.exec(['begin immediate', ...steps, `pragma user_version = ${files.length}`, 'commit'].join(';\n'))
}
