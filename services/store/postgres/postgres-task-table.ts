import { isOpen, type Task } from '../../tasks/task.ts'
import { assignStartTags, type OpenTags } from '../fair-order.ts'
import { openCondition, queuedCondition, submittedCondition } from '../task-conditions.ts'
import { rowToTask, taskColumns, taskToRow, type TaskRow } from '../task-row.ts'
import { generationQueue, type PostgresDatabase, type Row } from './postgres-database.ts'
import { insertPredictionOwners, toPredictionOwners } from './postgres-prediction-owners.ts'
import type { Database } from './postgres-transaction.ts'

/** `from` is the task that has to be stored still; `to` replaces it. */
export interface CompareAndSet { from: Task, to: Task }

export const taskColumnList = taskColumns.join(', ')

/** PostgreSQL knows that an index with `key_name` is ordered by the tag only if the name is equal to a value, not if it is null. */
const highestOfKey = 'order by key_name desc, start_tag desc limit 1'
/** Each of its rows reads one entry of an index. */
const openTagsQuery = `select 'submitted' as kind, null::text as name, (select start_tag from task where ${submittedCondition} order by start_tag desc limit 1) as tag
  union all select 'queued', null, (select start_tag from task where ${queuedCondition} order by start_tag limit 1)
  union all select 'key', null, (select start_tag from task where ${openCondition} and key_name is null ${highestOfKey})
  union all select 'key', name, (select start_tag from task where ${openCondition} and key_name = name ${highestOfKey}) from unnest($1::text[]) name`

/** pg-boss stores priorities as 32-bit integers. */
const minPriority = -(2 ** 31)

/**
 * Inserts tasks, and a job for each open one, at their place in the fair order. A task that exists already, from another import or
 * from a commit whose answer was lost, stays as it is, and so does its job.
 * @param tasks in the order of their arrival
 * @returns the tasks that were inserted, with their start tags
 */
export async function insertTasks (db: Database, tasks: Task[], { boss }: PostgresDatabase): Promise<Task[]> {
  const tagged = assignStartTags(tasks, await readOpenTags(db, tasks))
  const { rows } = await db.executeSql(`insert into task (${taskColumnList}) select ${taskColumnList} from json_populate_recordset(null::task, $1)
    on conflict do nothing returning id`, [rowsAsJson(tagged)])
  const insertedIds = new Set(rows.map(({ id }: Row) => id))
  const inserted = tagged.filter(({ id }) => insertedIds.has(id))
  await insertPredictionOwners(db, inserted.flatMap(toPredictionOwners))
  const jobs = inserted.filter(isOpen).map(({ id, startTag }) => ({ id, priority: priorityOf(startTag) }))
  if (jobs.length > 0) await boss.insert(generationQueue, jobs, { db })
  return inserted
}

/** The priority of a job whose task has this start tag: 0 or less, because other priorities are above it. */
export function priorityOf (startTag: number): number {
  return Math.max(0 - startTag, minPriority)
}

/**
 * What these new tasks need for their places in the queue. Transactions that run at the same moment do not see each other, so tasks of
 * one key can get the same tag in each of them.
 */
async function readOpenTags (db: Database, tasks: Task[]): Promise<OpenTags> {
  const names = new Set(tasks.flatMap(({ keyName }) => keyName ?? []))
  const { rows } = await db.executeSql(openTagsQuery, [[...names]])
  const found = rows.filter(({ tag }: Row) => tag !== null).map((row: Row) => ({ kind: row.kind, keyName: row.name as string | null, tag: Number(row.tag) }))
  const tagOf = (kind: string): number | null => found.find((row) => row.kind === kind)?.tag ?? null
  return {
    highestSubmitted: tagOf('submitted'),
    lowestQueued: tagOf('queued'),
    highestOfKey: new Map(found.filter(({ kind }) => kind === 'key').map(({ keyName, tag }) => [keyName, tag]))
  }
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
    prediction_created_at: numberOrNull(row.prediction_created_at),
    start_tag: numberOrNull(row.start_tag)
  })
}

export function numberOrNull (value: unknown): number | null {
  return value === null ? null : Number(value)
}
