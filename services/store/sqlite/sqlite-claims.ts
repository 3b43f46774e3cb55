import { isOpen, type Task } from '../../tasks/task.ts'
import { rowToTask } from '../task-row.ts'
import type { QueuePosition, SqliteTaskTable } from './sqlite-task-table.ts'

/** The tasks that this process holds. They are kept in memory: the file belongs to one process, so its end releases them all. */
export class SqliteClaims {
  #table
  #held = new Set<string>()
  /** Every queued task up to this position is held. */
  #heldUpTo: QueuePosition = { startTag: 0, seq: 0 }
  /** Whether there may be submitted tasks that are not held: those of a process that ended, or that were released. */
  #hasSubmitted = true

  constructor (table: SqliteTaskTable) {
    this.#table = table
  }

  /** @returns at most `limit` open tasks that are not held: submitted ones, then queued ones in the order of their start tags */
  claim (limit: number): Task[] {
    const submitted = this.#hasSubmitted ? this.claimSubmitted(limit) : []
    return [...submitted, ...this.#claimQueued(limit - submitted.length)]
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
    this.#hasSubmitted = false
    for (const id of this.#table.iterateSubmittedIds()) {
      if (claimed.length === limit) {
        this.#hasSubmitted = true
        break
      }
      this.#claimInto(claimed, id)
    }
    return claimed
  }

  release (id: string): void {
    const task = this.#table.load(id)
    if (!this.#held.delete(id) || task === undefined || !isOpen(task)) return
    if (task.state === 'queued') this.addQueued(task)
    else this.#hasSubmitted = true
  }

  /** Call it for each queued task that was inserted or released: its turn may be before that of tasks that were claimed. */
  addQueued ({ startTag }: Task): void {
    if (startTag <= this.#heldUpTo.startTag) this.#heldUpTo = { startTag, seq: 0 }
  }

  #claimQueued (limit: number): Task[] {
    const claimed: Task[] = []
    for (const { id, ...position } of this.#table.iterateQueued(this.#heldUpTo)) {
      if (claimed.length >= limit) break
      this.#heldUpTo = position
      this.#claimInto(claimed, id)
    }
    return claimed
  }

  /** Most of the tasks that a claim meets are held already, so a row is read only for one that is not. */
  #claimInto (claimed: Task[], id: string): void {
    const task = this.#held.has(id) ? undefined : this.#table.load(id)
    if (task !== undefined && this.#hold(id)) claimed.push(task)
  }

  /** @returns false if the task is held already */
  #hold (id: string): boolean {
    if (this.#held.has(id)) return false
    this.#held.add(id)
    return true
  }
}
