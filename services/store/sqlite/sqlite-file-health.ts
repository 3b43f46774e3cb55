import { statSync } from 'node:fs'
import type { Log } from '../../runtime/log.ts'
import { primaryResultCode, sqliteResult } from './sqlite-database.ts'

/**
 * Detects when the opened database file can no longer be used. Writes to a file that was removed or replaced succeed and
 * are lost; a file with a damaged page may fail only for some rows, among them tasks that are open.
 */
export class SqliteFileHealth {
  #log
  /** The paths of the file and of its write-ahead log, with the device and inode that each path led to when it was opened. */
  #opened: Array<{ path: string, identity: string | undefined }>
  #isMissing = false
  #damage: Error | undefined

  /** @param path of the open database, or `:memory:` */
  constructor (path: string, log: Log) {
    this.#log = log
    this.#opened = path === ':memory:' ? [] : [path, `${path}-wal`].map((path) => ({ path, identity: readIdentity(path) }))
  }

  /**
   * Call it before each transaction. Its two calls of stat take microseconds, far less than a flush to the disk.
   * @throws Error if the path no longer leads to the file that was opened
   */
  assertInPlace (): void {
    const missing = this.#opened.find(({ path, identity }) => readIdentity(path) !== identity)
    if (missing === undefined) {
      if (this.#isMissing) this.#log.info({}, 'The database file is in place again')
      this.#isMissing = false
      return
    }
    const error = new Error(`${missing.path} was removed or replaced while this process has it open`)
    if (!this.#isMissing) {
      this.#log.error({ err: error }, 'The database file was removed or replaced: no new tasks are accepted. Put the same file back, or restart the service on a backup')
    }
    this.#isMissing = true
    throw error
  }

  /** @throws Error if the file has turned out to be damaged since it was opened */
  assertUndamaged (): void {
    if (this.#damage !== undefined) throw this.#damage
  }

  /** Takes any error of the database. Damage is remembered until the process is restarted on a repaired file. */
  recordError (error: unknown): void {
    const result = primaryResultCode(error)
    if (this.#damage !== undefined || !(error instanceof Error) || (result !== sqliteResult.corrupt && result !== sqliteResult.notADatabase)) return
    this.#damage = error
    const path = this.#opened[0]?.path
    this.#log.error({ err: error, path }, 'The database file is damaged: no new tasks are accepted. Stop the service, restore a backup or repair a copy with “sqlite3 dreamreel.db .recover”, then start it again')
  }
}

function readIdentity (path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false })
  return found && `${found.dev}:${found.ino}`
}
