import { generationQueue, type Database, type PostgresDatabase, type Row } from './postgres-database.ts'
import { isOpen, type Task } from '../../tasks/task.ts'
import { predictionOwnerTtlMs, type PredictionOwner } from '../prediction-owner.ts'
import { taskToRow, taskColumns, rowToTask } from '../task-row.ts'

export interface CompareAndSet { from: Task, to: Task }

export const taskColumnList = taskColumns.join(', ')

/**
 * Each with a job where it is open. One that is here already, from elsewhere or from a commit that was not heard of, is
 * left alone with its job.
 * @returns the ids of the others
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

/** @returns the ids of the tasks that were as expected and have moved */
export async function compareAndSet (db: Database, moves: CompareAndSet[]): Promise<Set<string>> {
  const changed = taskColumns.filter((column) => column !== 'id')
  const { rows } = await db.executeSql(`update task set (${changed.join(', ')}) = row(${changed.map((column) => `moved.${column}`).join(', ')})
    from json_populate_recordset(null::task, $1) moved where task.id = moved.id and task.version = moved.version - 1 returning task.id`,
  [rowsAsJson(moves.map(({ to }) => to))])
  return new Set(rows.map((row: Row) => String(row.id)))
}

/**
 * Notes to which tasks predictions belong; one that belongs to another task stays so.
 * @returns the ids of the predictions that belong to the task of their row now
 */
export async function insertPredictionOwners (db: Pick<Database, 'executeSql'>, owners: PredictionOwner[]): Promise<Set<string>> {
  if (owners.length === 0) return new Set()
  // In one order, so that two transactions cannot wait for each other.
  const sorted = owners.toSorted((a, b) => a.prediction_id < b.prediction_id ? -1 : 1)
  const { rows } = await db.executeSql(`insert into prediction_owner (prediction_id, task_id, recorded_at)
    select prediction_id, task_id, recorded_at from json_populate_recordset(null::prediction_owner, $1)
    on conflict (prediction_id) do update set task_id = excluded.task_id where prediction_owner.task_id = excluded.task_id
    returning prediction_id`, [JSON.stringify(sorted)])
  return new Set(rows.map((row: Row) => String(row.prediction_id)))
}

/** The row for a task that has a prediction. */
export function toPredictionOwners ({ id, predictionId, updatedAt }: Task): PredictionOwner[] {
  return predictionId === null ? [] : [{ prediction_id: predictionId, task_id: id, recorded_at: updatedAt }]
}

/** Forgets what no search can meet any more. */
export async function deleteExpiredPredictionOwners (database: PostgresDatabase, now: number): Promise<void> {
  await database.query('delete from prediction_owner where recorded_at <= $1', [now - predictionOwnerTtlMs])
}

function rowsAsJson (tasks: Task[]): string {
  return JSON.stringify(tasks.map(taskToRow))
}

/** PostgreSQL's bigint comes as text. */
export function postgresRowToTask (row: Row): Task {
  return rowToTask({
    ...row as Record<keyof ReturnType<typeof taskToRow>, unknown>,
    created_at: numberOrNull(row.created_at),
    updated_at: numberOrNull(row.updated_at),
    deadline_at: numberOrNull(row.deadline_at),
    prediction_created_at: numberOrNull(row.prediction_created_at)
  })
}

export function numberOrNull (value: unknown): number | null {
  return value === null ? null : Number(value)
}
