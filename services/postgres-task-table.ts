import { generationQueue, type Database, type PostgresDatabase, type Row } from './postgres-database.ts'
import { isOpen, type Task } from './task.ts'
import { rowOf, taskColumns, taskOf } from './task-row.ts'

export interface CompareAndSet { from: Task, to: Task }

export const taskColumnList = taskColumns.join(', ')

/**
 * Each with a job where it is open. One that is here already, from elsewhere or from a commit that was not heard of, is
 * left alone with its job.
 * @returns the ids of the others
 */
export async function insertTasks (db: Database, tasks: Task[], { boss }: PostgresDatabase): Promise<Set<unknown>> {
  const { rows } = await db.executeSql(`insert into task (${taskColumnList}) select ${taskColumnList} from json_populate_recordset(null::task, $1)
    on conflict do nothing returning id`, [rowsOf(tasks)])
  const inserted = new Set(rows.map(({ id }: Row) => id))
  const jobs = tasks.filter((task) => isOpen(task) && inserted.has(task.id)).map(({ id }) => ({ id }))
  if (jobs.length > 0) await boss.insert(generationQueue, jobs, { db })
  return inserted
}

/** @returns the ids of the tasks that were as expected and have moved */
export async function compareAndSet (db: Database, moves: CompareAndSet[]): Promise<Set<string>> {
  const changed = taskColumns.filter((column) => column !== 'id')
  const { rows } = await db.executeSql(`update task set (${changed.join(', ')}) = row(${changed.map((column) => `moved.${column}`).join(', ')})
    from json_populate_recordset(null::task, $1) moved where task.id = moved.id and task.version = moved.version - 1 returning task.id`,
  [rowsOf(moves.map(({ to }) => to))])
  return new Set(rows.map((row: Row) => String(row.id)))
}

function rowsOf (tasks: Task[]): string {
  return JSON.stringify(tasks.map(rowOf))
}

/** PostgreSQL's bigint comes as text. */
export function taskOfRow (row: Row): Task {
  return taskOf({
    ...row as Record<keyof ReturnType<typeof rowOf>, unknown>,
    created_at: numberOrNull(row.created_at),
    updated_at: numberOrNull(row.updated_at),
    deadline_at: numberOrNull(row.deadline_at),
    prediction_created_at: numberOrNull(row.prediction_created_at)
  })
}

export function numberOrNull (value: unknown): number | null {
  return value === null ? null : Number(value)
}
