import type { DatabaseSync } from 'node:sqlite'
import { StoreUnavailableError } from '../store-errors.ts'
import { isTransient } from './sqlite-database.ts'
import type { SqliteFileHealth } from './sqlite-file-health.ts'

interface Write { run (): void, resolve (): void, reject (error: Error): void }

/**
 * Commits all writes of one turn of the event loop in one transaction, so that they share one flush to the disk. The flush
 * is the expensive part of a durable write, and it blocks the event loop. The promise of a write resolves after the commit.
 */
export class SqliteWriteBatcher {
  #database: DatabaseSync
  #file: SqliteFileHealth
  #onRollback: () => void
  #writes: Write[] = []

  /** @param onRollback called when a transaction was not committed, so that what was kept of it can be forgotten */
  constructor (database: DatabaseSync, file: SqliteFileHealth, onRollback: () => void = () => {}) {
    this.#database = database
    this.#file = file
    this.#onRollback = onRollback
  }

  /**
   * @param work runs synchronously inside the transaction; an error that it throws rolls back the whole batch
   * @throws StoreUnavailableError if the batch could not be committed: none of its writes happened
   */
  run<T> (work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let result: T
      if (this.#writes.length === 0) setImmediate(() => this.flush())
      this.#writes.push({
        run: () => { result = work() },
        resolve: () => resolve(result),
        reject
      })
    })
  }

  /** Commits the writes that are waiting. */
  flush (): void {
    const batch = this.#writes
    this.#writes = []
    if (batch.length === 0) return
    try {
      this.#commit(batch)
    } catch (error) {
      this.#onRollback()
      this.#file.recordError(error)
      const unavailable = new StoreUnavailableError(error, { isTransient: isTransient(error) })
      for (const write of batch) write.reject(unavailable)
      return
    }
    for (const write of batch) write.resolve()
  }

  #commit (batch: Write[]): void {
    try {
      this.#file.assertInPlace()
      this.#database.exec('begin immediate')
      for (const write of batch) write.run()
      this.#database.exec('commit')
    } catch (error) {
      // After some errors, a full disk among them, SQLite has already rolled back by itself.
      if (this.#database.isOpen && this.#database.isTransaction) this.#database.exec('rollback')
      throw error
    }
  }
}
