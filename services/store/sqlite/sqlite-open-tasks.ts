import { isOpen, type Task } from '../../tasks/task.ts'
import { findReachedCap, type OpenTaskCaps, type TooManyOpenTasks } from '../open-task-caps.ts'
import type { SqliteTaskTable } from './sqlite-task-table.ts'

/**
 * How many tasks are open. Counting takes as long as there are open tasks, so each number is read once and then kept up to date:
 * no other process writes to the file. Call `forget` when a transaction was rolled back.
 */
export class SqliteOpenTasks {
  #table
  #inAll: number | undefined
  #ofKeys = new Map<string | null, number>()

  constructor (table: SqliteTaskTable) {
    this.#table = table
  }

  /** @returns undefined if a task of this API key may be created */
  findReachedCap (keyName: string | null, caps: OpenTaskCaps): TooManyOpenTasks | undefined {
    return findReachedCap(caps, { ofKey: caps.ofKey === null ? 0 : this.#countOfKey(keyName), inAll: caps.inAll === null ? 0 : this.#countAll() })
  }

  /** Call it for each task that was inserted. */
  add (task: Task): void {
    if (isOpen(task)) this.#change(task.keyName, 1)
  }

  /** Call it for each transition that was written. */
  update (before: Task, after: Task): void {
    if (isOpen(before) && !isOpen(after)) this.#change(after.keyName, -1)
  }

  forget (): void {
    this.#inAll = undefined
    this.#ofKeys.clear()
  }

  #change (keyName: string | null, difference: number): void {
    if (this.#inAll !== undefined) this.#inAll += difference
    const ofKey = this.#ofKeys.get(keyName)
    if (ofKey !== undefined) this.#ofKeys.set(keyName, ofKey + difference)
  }

  #countAll (): number {
    this.#inAll ??= this.#table.countOpen()
    return this.#inAll
  }

  #countOfKey (keyName: string | null): number {
    const count = this.#ofKeys.get(keyName) ?? this.#table.countOpenOfKey(keyName)
    this.#ofKeys.set(keyName, count)
    return count
  }
}
