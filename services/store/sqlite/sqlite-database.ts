import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { StartError } from '../../runtime/start-error.ts'

const migrationsFolder = new URL('../../../migrations/sqlite/', import.meta.url)

const ownerOnly = 0o600

/** Values of `errcode` in errors of node:sqlite: https://www.sqlite.org/rescode.html */
export const sqliteResult = { busy: 5, readOnly: 8, corrupt: 11, cannotOpen: 14, tooBig: 18, constraint: 19, mismatch: 20, notADatabase: 26, uniqueViolation: 2067 } as const

/** @returns the result code of an error of SQLite, undefined for any other error */
export function sqliteResultCode (error: unknown): number | undefined {
  if (error instanceof Error && 'errcode' in error && typeof error.errcode === 'number') return error.errcode
  return undefined
}

/** @returns the primary result code, without the detail that extended result codes add; undefined for an error that is not SQLite's */
export function primaryResultCode (error: unknown): number | undefined {
  const result = sqliteResultCode(error)
  return result === undefined ? undefined : result & 0xff
}

/** Whether the same work may succeed later. Work that SQLite or its driver refuses because of the values never succeeds. */
export function isTransient (error: unknown): boolean {
  const result = primaryResultCode(error)
  if (result === undefined) return !(error instanceof TypeError || error instanceof RangeError)
  return result !== sqliteResult.tooBig && result !== sqliteResult.constraint && result !== sqliteResult.mismatch
}

/**
 * Opens the database for exclusive use by this process, with durable commits, and migrates it to the newest schema.
 * @param path of the file, or `:memory:`
 * @throws StartError if another process uses the database, a newer release wrote it, or it cannot be used at all
 */
export function openDatabase (path: string): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    database = openPrivately(path)
    lockForThisProcess(database)
    migrate(database, path)
    return database
  } catch (error) {
    database?.close()
    throw toStartError(error, path)
  }
}

/** @throws what SQLite throws */
export function readStoreId (database: DatabaseSync): string {
  const row = database.prepare('select id from store_id').get()
  if (row === undefined) throw new Error('The table store_id is empty')
  return String(row.id)
}

function toStartError (error: unknown, path: string): unknown {
  const result = primaryResultCode(error)
  if (!(error instanceof Error) || result === undefined) return error
  return new StartError(`${path} ${reasons[result] ?? `cannot be used: ${error.message}`}`, { cause: error })
}

const restoreAdvice = 'Restore it from a backup, or move it away to start without any tasks.'
const reasons: Record<number, string> = {
  [sqliteResult.busy]: 'is in use by another Dreamreel process. Only one process can work on a DATA_DIR: stop the other one, or give this one a DATA_DIR of its own. Several instances share a PostgreSQL, DATABASE_URL.',
  [sqliteResult.notADatabase]: `is not a SQLite database. ${restoreAdvice}`,
  [sqliteResult.corrupt]: `is damaged or was cut short. ${restoreAdvice}`,
  [sqliteResult.cannotOpen]: 'cannot be opened. It has to be a file that this user may read and write.',
  [sqliteResult.readOnly]: 'cannot be written to. It has to be a file that this user may read and write.'
}

/** Dreams are private, so only the owner can read the file. SQLite gives the files next to the database the same permissions. */
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
      // The file does not exist yet, or it belongs to another user who has given this process access.
    }
  }
}

/** The order matters: with journal_mode first, a second process could open the database and change the schema. */
function lockForThisProcess (database: DatabaseSync): void {
  database.exec('pragma locking_mode = exclusive')
  database.exec('pragma journal_mode = wal')
  database.exec('pragma synchronous = full')
  database.exec('begin immediate; commit')
}

/** Applies the files of `migrations/sqlite/` that the database does not have yet, in one transaction. */
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
