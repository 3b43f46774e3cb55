import type { Task } from '../../tasks/task.ts'
import type { DueDelivery } from '../callback-deliveries.ts'
import type { KeyRow } from '../idempotency-key.ts'
import { insertDeliveries } from './postgres-callback-deliveries.ts'
import type { PostgresDatabase } from './postgres-database.ts'
import { acquireKeys } from './postgres-idempotency-keys.ts'
import { insertTasks } from './postgres-task-table.ts'

/** The result of an import of tasks from another store. */
export interface ImportOutcome {
  imported: Task[]
  /** These were stored here already, and were not changed. */
  existing: Task[]
  /** These were not imported, because their prediction belongs to another task here. */
  conflicting: Task[]
}

/**
 * Imports tasks of another store, in any state. Work on open tasks continues at once, and the pending callbacks of ended
 * tasks are delivered from here. Queued tasks get new start tags, so that they have their turn among the tasks that are here.
 * @param deliveries the pending deliveries of the other store; those of other tasks are ignored
 * @throws StoreUnavailableError if no task was imported, or if that is not known
 */
export async function importTasks (tasks: Task[], deliveries: DueDelivery[], database: PostgresDatabase): Promise<ImportOutcome> {
  const ids = tasks.map(({ id }) => id)
  const inserted = await database.transaction(async (db) => {
    const insertedIds = new Set((await insertTasks(db, tasks, database)).map(({ id }) => id))
    await insertDeliveries(db, deliveries.filter(({ taskId }) => insertedIds.has(taskId)), database)
    return insertedIds
  })
  const present = new Set((await database.query('select id from task where id = any($1::uuid[])', [ids])).map(({ id }) => id))
  return {
    imported: tasks.filter(({ id }) => inserted.has(id)),
    existing: tasks.filter(({ id }) => present.has(id) && !inserted.has(id)),
    conflicting: tasks.filter(({ id }) => !present.has(id))
  }
}

/** Imports the idempotency keys of another store. A key that is in use here is not changed. */
export async function importKeys (keys: KeyRow[], database: PostgresDatabase): Promise<void> {
  await database.transaction((db) => acquireKeys(db, keys))
}
