import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Task } from '../../tasks/task.ts'
import type { CallbackDeliveries, CallbackDelivery, DueDelivery, NextAttempt } from '../callback-deliveries.ts'
import type { SqliteWriteBatcher } from './sqlite-write-batcher.ts'

export interface SqliteCallbackDeliveriesOptions {
  database: DatabaseSync
  writes: SqliteWriteBatcher
  loadTask: (taskId: string) => Task | undefined
  /** Runs `work`, which reads the database; throws StoreUnavailableError if it fails. */
  read: <T>(work: () => T) => T
  now: () => number
}

interface DeliveryRow { task_id: string, attempt: number, due_at: number }

/** One row for each task whose callback is pending. A failed attempt moves the row to a later time. */
export class SqliteCallbackDeliveries implements CallbackDeliveries {
  #options
  #held = new Set<string>()
  #listeners: Array<() => void> = []
  #statements

  constructor (options: SqliteCallbackDeliveriesOptions) {
    this.#options = options
    const prepare = (sql: string): StatementSync => options.database.prepare(sql)
    this.#statements = {
      insert: prepare('insert into callback_delivery (task_id, attempt, due_at) values (?, 1, ?)'),
      due: prepare('select * from callback_delivery where due_at <= ? order by due_at'),
      postpone: prepare('update callback_delivery set attempt = ?, due_at = ? where task_id = ?'),
      remove: prepare('delete from callback_delivery where task_id = ?')
    }
  }

  async claim (limit: number): Promise<CallbackDelivery[]> {
    return this.#options.read(() => {
      const claimed: CallbackDelivery[] = []
      for (const row of this.#statements.due.iterate(this.#options.now())) {
        if (claimed.length === limit) break
        const { task_id: id, attempt } = asDeliveryRow(row)
        const task = this.#held.has(id) ? undefined : this.#options.loadTask(id)
        if (task === undefined) continue
        this.#held.add(id)
        claimed.push({ id, task, attempt })
      }
      return claimed
    })
  }

  async finishAttempt ({ id, attempt }: CallbackDelivery, next?: NextAttempt): Promise<void> {
    const { writes, now } = this.#options
    await writes.run(() => next === undefined ? this.remove(id) : this.#statements.postpone.run(next.attempt ?? attempt + 1, Math.ceil(now() + next.inMs), id))
    this.#held.delete(id)
  }

  onDue (listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Call it in the transaction that ends the task. */
  add (taskId: string): void {
    this.#statements.insert.run(taskId, this.#options.now())
  }

  /** Call it in the transaction that removes the task. */
  remove (taskId: string): void {
    this.#statements.remove.run(taskId)
  }

  /** Call it after the commit that added a delivery. */
  notifyDue (): void {
    for (const notify of this.#listeners) notify()
  }
}

/** All pending deliveries, for an import into another store. */
export function readDeliveries (database: DatabaseSync, now: number): DueDelivery[] {
  const rows = database.prepare('select * from callback_delivery').all().map(asDeliveryRow)
  return rows.map(({ task_id: taskId, attempt, due_at: dueAt }) => ({ taskId, attempt, inMs: Math.max(0, dueAt - now) }))
}

/** The boundary where a row becomes typed: the table is `strict`, and only this module writes it. */
function asDeliveryRow (row: unknown): DeliveryRow {
  return row as DeliveryRow
}
