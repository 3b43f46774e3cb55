import { isOpen, type Task } from '../../tasks/task.ts'
import { rowToTask } from '../task-row.ts'
import type { SqliteTaskTable } from './sqlite-task-table.ts'

/** The tasks that this process holds. They are kept in memory: the file belongs to one process, so its end releases them all. */
export class SqliteClaims {
  #table
  #held = new Set<string>()
  /** Every open task up to this `seq` is held. */
  #heldUpTo = 0

  constructor (table: SqliteTaskTable) {
    this.#table = table
  }

  /** @returns at most `limit` open tasks that are not held, the oldest first */
  claim (limit: number): Task[] {
    const claimed: Task[] = []
    for (const row of this.#table.iterateOpen(this.#heldUpTo)) {
      if (claimed.length === limit) break
      this.#heldUpTo = row.seq
      if (this.#hold(row.id)) claimed.push(rowToTask(row))
    }
    return claimed
  }

  /** @param now ms since the epoch */
  claimOverdue (now: number, limit: number): Task[] {
    const claimed: Task[] = []
    for (const row of this.#table.iterateOverdue(now)) {
      if (claimed.length === limit) break
      if (this.#hold(row.id)) claimed.push(rowToTask(row))
    }
    return claimed
  }

  claimSubmitted (limit: number): Task[] {
    const claimed: Task[] = []
    // Nearly all of them are held already, so a row is read only for an id that is not.
    for (const id of this.#table.iterateSubmittedIds()) {
      if (claimed.length === limit) break
      const task = this.#held.has(id) ? undefined : this.#table.load(id)
      if (task !== undefined && this.#hold(id)) claimed.push(task)
    }
    return claimed
  }

  release (id: string): void {
    const task = this.#table.load(id)
    if (this.#held.delete(id) && task !== undefined && isOpen(task)) this.#heldUpTo = 0
  }

  /** @returns false if the task is held already */
  #hold (id: string): boolean {
    if (this.#held.has(id)) return false
    this.#held.add(id)
    return true
  }
}
