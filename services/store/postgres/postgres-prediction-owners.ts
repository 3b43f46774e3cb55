import type { Task } from '../../tasks/task.ts'
import { predictionOwnerTtlMs, type PredictionOwner } from '../prediction-owner.ts'
import type { PostgresDatabase, Row } from './postgres-database.ts'
import type { Database } from './postgres-transaction.ts'

/**
 * Records to which tasks predictions belong; a prediction that belongs to another task keeps its owner.
 * @returns the ids of the predictions that now belong to the task of their row
 */
export async function insertPredictionOwners (db: Pick<Database, 'executeSql'>, owners: PredictionOwner[]): Promise<Set<string>> {
  if (owners.length === 0) return new Set()
  // Always in the same order, so that two transactions cannot deadlock.
  const sorted = owners.toSorted((a, b) => a.prediction_id < b.prediction_id ? -1 : 1)
  const { rows } = await db.executeSql(`insert into prediction_owner (prediction_id, task_id, recorded_at)
    select prediction_id, task_id, recorded_at from json_populate_recordset(null::prediction_owner, $1)
    on conflict (prediction_id) do update set task_id = excluded.task_id where prediction_owner.task_id = excluded.task_id
    returning prediction_id`, [JSON.stringify(sorted)])
  return new Set(rows.map((row: Row) => String(row.prediction_id)))
}

/** @returns the id of the task for each prediction that has an owner */
export async function findPredictionOwners ({ query }: PostgresDatabase, predictionIds: string[]): Promise<Map<string, string>> {
  const rows = await query('select prediction_id, task_id from prediction_owner where prediction_id = any($1)', [predictionIds])
  return new Map(rows.map((row) => [String(row.prediction_id), String(row.task_id)]))
}

/** The row for a task that has a prediction; none for one that has not. */
export function toPredictionOwners ({ id, predictionId, updatedAt }: Task): PredictionOwner[] {
  return predictionId === null ? [] : [{ prediction_id: predictionId, task_id: id, recorded_at: updatedAt }]
}

/** Removes the rows that are too old for any search to need them. */
export async function deleteExpiredPredictionOwners ({ query }: PostgresDatabase, now: number): Promise<void> {
  await query('delete from prediction_owner where recorded_at <= $1', [now - predictionOwnerTtlMs])
}
