import type { DueDelivery } from '../callback-deliveries.ts'
import type { KeyRow } from '../idempotency-key.ts'
import { insertDeliveries } from './postgres-callback-deliveries.ts'
import type { PostgresDatabase } from './postgres-database.ts'
import { acquireKeys } from './postgres-idempotency-keys.ts'
import { insertTasks } from './postgres-task-table.ts'
import type { Task } from '../../tasks/task.ts'

/** What became of tasks that came from elsewhere. */
export interface ImportOutcome {
  imported: Task[]
  /** They were here already, and are left as they are here. */
  existing: Task[]
  /** Their prediction belongs to another task here. */
  conflicting: Task[]
}

/**
 * Takes over tasks as another store has them, at whatever point of their life. Open ones go on from there at once, and
 * who was to be told of the others is told from here.
 * @param deliveries what is still to be told, of these tasks or any others
 * @throws StoreUnavailableError when none of them was taken, or it is not known
 */
export async function importTasks (tasks: Task[], deliveries: DueDelivery[], database: PostgresDatabase): Promise<ImportOutcome> {
  const ids = tasks.map(({ id }) => id)
  const inserted = await database.transaction(async (db) => {
    const taken = await insertTasks(db, tasks, database)
    await insertDeliveries(db, deliveries.filter(({ taskId }) => taken.has(taskId)), database)
    return taken
  })
  const present = new Set((await database.query('select id from task where id = any($1::uuid[])', [ids])).map(({ id }) => id))
  return {
    imported: tasks.filter(({ id }) => inserted.has(id)),
    existing: tasks.filter(({ id }) => present.has(id) && !inserted.has(id)),
    conflicting: tasks.filter(({ id }) => !present.has(id))
  }
}

/** Takes over what other stores have noted of requests with a key; a key that is in use here stays as it is here. */
export async function importKeys (keys: KeyRow[], database: PostgresDatabase): Promise<void> {
  await database.transaction((db) => acquireKeys(db, keys))
}
