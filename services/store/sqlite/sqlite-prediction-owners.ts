import type { DatabaseSync } from 'node:sqlite'
import { predictionOwnerTtlMs } from '../prediction-owner.ts'

/** The table `prediction_owner`: the task that each prediction belongs to. */
export class SqlitePredictionOwners {
  #statements
  #now

  /** @param now the store's clock, ms since the epoch */
  constructor (database: DatabaseSync, now: () => number) {
    this.#now = now
    this.#statements = {
      find: database.prepare('select prediction_id, task_id from prediction_owner where prediction_id in (select value from json_each(?))'),
      insert: database.prepare('insert or ignore into prediction_owner (prediction_id, task_id, recorded_at) values (?, ?, ?)'),
      removeExpired: database.prepare('delete from prediction_owner where recorded_at <= ?')
    }
  }

  /** @returns the id of the task for each prediction that has an owner */
  find (predictionIds: string[]): Map<string, string> {
    return new Map(this.#statements.find.all(JSON.stringify(predictionIds)).map((row) => [String(row.prediction_id), String(row.task_id)]))
  }

  /** @returns false if the prediction belongs to another task */
  isFreeFor (predictionId: string, taskId: string): boolean {
    return (this.find([predictionId]).get(predictionId) ?? taskId) === taskId
  }

  /** A prediction that has an owner keeps it. */
  record (predictionId: string, taskId: string): void {
    const now = this.#now()
    this.#statements.removeExpired.run(now - predictionOwnerTtlMs)
    this.#statements.insert.run(predictionId, taskId, now)
  }
}
