import type { DatabaseSync } from 'node:sqlite'
import { isTransient } from './sqlite-database.ts'
import type { SqliteFileHealth } from './sqlite-file-health.ts'
import { StoreUnavailableError } from '../store-errors.ts'

interface Write { run (): void, done (): void, failed (error: Error): void }

/**
 * Gathers all writes of one turn of the event loop into one transaction, so that they share one flush to the disk
 * (the flush is what a durable write costs, and it blocks the loop). A write's promise resolves after the commit.
 */
export class SqliteWriteBatcher {
  #database: DatabaseSync
  #file: SqliteFileHealth
  #writes: Write[] = []

  constructor (database: DatabaseSync, file: SqliteFileHealth) {
    this.#database = database
    this.#file = file
  }

  /**
   * @param work runs synchronously inside the transaction; what it throws undoes the whole group
   * @throws StoreUnavailableError when the group could not be committed: nothing of it happened
   */
  run<T> (work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let result: T
      if (this.#writes.length === 0) setImmediate(() => this.flush())
      this.#writes.push({
        run: () => { result = work() },
        done: () => resolve(result),
        failed: reject
      })
    })
  }

  /** Commits what has gathered so far. */
  flush (): void {
    const group = this.#writes
    this.#writes = []
    if (group.length === 0) return
    try {
      this.#commit(group)
    } catch (error) {
      this.#file.recordError(error)
      const unavailable = new StoreUnavailableError(error, { isTransient: isTransient(error) })
      for (const write of group) write.failed(unavailable)
      return
    }
    for (const write of group) write.done()
  }

  #commit (group: Write[]): void {
    try {
      this.#file.assertInPlace()
      this.#database.exec('begin immediate')
      for (const write of group) write.run()
      this.#database.exec('commit')
    } catch (error) {
      // SQLite has rolled back by itself after some errors, a full disk among them.
      if (this.#database.isOpen && this.#database.isTransaction) this.#database.exec('rollback')
      throw error
    }
  }
}
