import { statSync } from 'node:fs'
import type { Log } from '../../runtime/log.ts'
import { primaryResultCode, sqliteResult } from './sqlite-database.ts'

/**
 * Whether the file that was opened can still be relied on. A file that was removed or replaced takes every write and keeps
 * none of them; one with a damaged page may fail at the very rows that are to be worked on.
 */
export class SqliteFileHealth {
  #log
  /** What names the file and its log on the disk, with what it named when they were opened. */
  #opened: Array<{ path: string, identity: string | undefined }>
  #isMissing = false
  #damage: Error | undefined

  /** @param path of the open database, or `:memory:` */
  constructor (path: string, log: Log) {
    this.#log = log
    this.#opened = path === ':memory:' ? [] : [path, `${path}-wal`].map((path) => ({ path, identity: readIdentity(path) }))
  }

  /**
   * Before each transaction. Two calls of stat cost some microseconds, and a flush to the disk is far more.
   * @throws Error where the file is not the one any more that was opened
   */
  assertInPlace (): void {
    const gone = this.#opened.find(({ path, identity }) => readIdentity(path) !== identity)
    if (gone === undefined) {
      if (this.#isMissing) this.#log.info({}, 'The file of the tasks is in its place again')
      this.#isMissing = false
      return
    }
    const error = new Error(`${gone.path} has been removed or replaced while this process works on it`)
    if (!this.#isMissing) {
      this.#log.error({ err: error }, 'The file of the tasks is gone: nothing is accepted any more. Put the same file back, or restart the service on its backup')
    }
    this.#isMissing = true
    throw error
  }

  /** @throws Error where something of the file could not be read since it was opened */
  assertUndamaged (): void {
    if (this.#damage !== undefined) throw this.#damage
  }

  /** Of whatever the database threw: damage stays until the process is started again, on a file that was repaired. */
  recordError (error: unknown): void {
    const result = primaryResultCode(error)
    if (this.#damage !== undefined || !(error instanceof Error) || (result !== sqliteResult.corrupt && result !== sqliteResult.notADatabase)) return
    this.#damage = error
    const path = this.#opened[0]?.path
    this.#log.error({ err: error, path }, 'The file of the tasks is damaged: nothing is accepted any more. Stop the service, restore a backup or repair a copy with “sqlite3 dreamreel.db .recover”, then start it again')
  }
}

function readIdentity (path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}:${found.ino}`
}
