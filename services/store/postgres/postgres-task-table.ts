import { isOpen, type Task } from '../../tasks/task.ts'
import { rowToTask, taskColumns, taskToRow, type TaskRow } from '../task-row.ts'
import { generationQueue, type PostgresDatabase, type Row } from './postgres-database.ts'
import { insertPredictionOwners, toPredictionOwners } from './postgres-prediction-owners.ts'
import type { Database } from './postgres-transaction.ts'

/** `from` is the task that has to be stored still; `to` replaces it. */
export interface CompareAndSet { from: Task, to: Task }

export const taskColumnList = taskColumns.join(', ')

/**
 * Inserts tasks, and a job for each open one. A task that exists already, from another import or from a commit whose answer
 * was lost, stays as it is, and so does its job.
 * @returns the ids of the tasks that were inserted
 */
export async function insertTasks (db: Database, tasks: Task[], { boss }: PostgresDatabase): Promise<Set<unknown>> {
  const { rows } = await db.executeSql(`insert into task (${taskColumnList}) select ${taskColumnList} from json_populate_recordset(null::task, $1)
    on conflict do nothing returning id`, [rowsAsJson(tasks)])
  const inserted = new Set(rows.map(({ id }: Row) => id))
  await insertPredictionOwners(db, tasks.filter(({ id }) => inserted.has(id)).flatMap(toPredictionOwners))
  const jobs = tasks.filter((task) => isOpen(task) && inserted.has(task.id)).map(({ id }) => ({ id }))
  if (jobs.length > 0) await boss.insert(generationQueue, jobs, { db })
  return inserted
}

/** @returns the ids of the tasks that were still as expected, and were changed */
export async function compareAndSet (db: Database, writes: CompareAndSet[]): Promise<Set<string>> {
  const changed = taskColumns.filter((column) => column !== 'id')
  const { rows } = await db.executeSql(`update task set (${changed.join(', ')}) = row(${changed.map((column) => `after.${column}`).join(', ')})
    from json_populate_recordset(null::task, $1) after where task.id = after.id and task.version = after.version - 1 returning task.id`,
  [rowsAsJson(writes.map(({ to }) => to))])
  return new Set(rows.map((row: Row) => String(row.id)))
}

function rowsAsJson (tasks: Task[]): string {
  return JSON.stringify(tasks.map(taskToRow))
}

/** The driver returns a bigint as text. */
export function postgresRowToTask (row: Row): Task {
  return rowToTask({
    ...row as Record<keyof TaskRow, unknown>,
    created_at: numberOrNull(row.created_at),
    updated_at: numberOrNull(row.updated_at),
    deadline_at: numberOrNull(row.deadline_at),
    prediction_created_at: numberOrNull(row.prediction_created_at)
  })
}

export function numberOrNull (value: unknown): number | null {
  return value === null ? null : Number(value)
}
