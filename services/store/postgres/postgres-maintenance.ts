import type { Log } from '../../runtime/log.ts'
import { keyTtlMs } from '../idempotency-key.ts'
import { openCondition } from '../task-conditions.ts'
import { generationQueue, type PostgresDatabase } from './postgres-database.ts'
import { deleteExpiredPredictionOwners } from './postgres-prediction-owners.ts'
import { priorityOf } from './postgres-task-table.ts'
import { deleteEndedWindows } from './postgres-window-counter.ts'

export interface PostgresMaintenanceOptions {
  database: PostgresDatabase
  /** the store's clock, ms since the epoch */
  now: () => number
  /** ms from one run to the next; a minute by default */
  intervalMs?: number
  log: Log
}

const defaultIntervalMs = 60_000
const maxJobs = 1_000

/** Adds the jobs that are missing and deletes rows that have expired, once a minute. Every instance does it. */
export class PostgresMaintenance {
  #options
  #timer
  #running: Promise<void> | undefined

  constructor (options: PostgresMaintenanceOptions) {
    this.#options = options
    const { intervalMs = defaultIntervalMs } = options
    this.#timer = setInterval(() => this.#run(), intervalMs).unref()
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  /** Resolves when a run that is under way has ended. */
  async drain (): Promise<void> {
    await this.#running
  }

  #run (): void {
    const { database, now, log } = this.#options
    this.#running ??= this.#addMissingJobs()
      .then(async () => {
        await database.query('delete from idempotency_key where created_at <= $1', [now() - keyTtlMs])
        await deleteExpiredPredictionOwners(database, now())
        await deleteEndedWindows(database)
      })
      .catch((err: unknown) => log.warn({ err }, 'The maintenance of the database has failed; it runs again soon'))
      .finally(() => { this.#running = undefined })
  }

  /** Every open task has a job, even if another program inserted the task or deleted the job. */
  async #addMissingJobs (): Promise<void> {
    const { boss, query } = this.#options.database
    const rows = await query(`select id, start_tag from task where ${openCondition} and not exists (
      select from pgboss.job where job.name = $1 and job.id = task.id) limit $2`, [generationQueue, maxJobs])
    if (rows.length > 0) await boss.insert(generationQueue, rows.map((row) => ({ id: String(row.id), priority: priorityOf(Number(row.start_tag)) })))
  }
}
