import type { Log } from '../../runtime/log.ts'
import type { PostgresDatabase } from './postgres-database.ts'
import { PostgresWriteBatcher } from './postgres-write-batcher.ts'

export interface JobLeasesOptions {
  database: PostgresDatabase
  /** the name of the queue */
  queue: string
  log: Log
}

/** One attempt at a job. pg-boss renews and ends a job only for the attempt that is current. */
interface Attempt { id: string, retryCount: number }

export interface LeasedJob<Data> { id: string, data: Data }

interface LeaseRelease { attempt: Attempt, isJobDone: boolean }

/** A lease that is not renewed for about three times as long expires, and another instance can claim the job. */
const renewalMs = 3_000
const maxBatchSize = 1_000

/**
 * The jobs of one pg-boss queue that this instance holds a lease on. One statement renews all of them. An instance that
 * does not renew its leases, because it died or is frozen, loses them within 12 s.
 */
export class JobLeases<Data extends object> {
  #options
  #held = new Map<string, Attempt>()
  #lostListeners: Array<(id: string) => void> = []
  #releases
  #timer: NodeJS.Timeout
  #renewing: Promise<void> | undefined

  constructor (options: JobLeasesOptions) {
    this.#options = options
    this.#releases = new PostgresWriteBatcher<LeaseRelease, void>({
      commit: (releases) => this.#releaseAll(releases),
      keyOf: ({ attempt }) => attempt.id,
      maxBatchSize,
      maxConcurrentBatches: 1,
      timeoutMs: Infinity
    })
    this.#timer = setInterval(() => this.#renew(), renewalMs).unref()
  }

  /** Calls `listener` with the id of each job whose lease turns out to be lost. */
  onLost (listener: (id: string) => void): void {
    this.#lostListeners.push(listener)
  }

  /**
   * @param minPriority claims only jobs of at least this priority
   * @returns at most `limit` jobs, in descending order of priority and then from the oldest to the newest
   */
  async claim (limit: number, minPriority?: number): Promise<Array<LeasedJob<Data>>> {
    const jobs = await this.#options.database.boss.fetch<Data>(this.#options.queue, {
      batchSize: Math.min(limit, maxBatchSize), includeMetadata: true, ...(minPriority !== undefined && { minPriority })
    })
    for (const { id, retryCount } of jobs) this.#held.set(id, { id, retryCount })
    return jobs.toSorted((a, b) => b.priority - a.priority || a.createdOn.getTime() - b.createdOn.getTime() || (a.id < b.id ? -1 : 1))
  }

  /** Releases a lease. A job that is done ends for good; any other can be claimed again. */
  async release (id: string, isJobDone: boolean): Promise<void> {
    const attempt = this.#held.get(id)
    if (attempt === undefined) return
    this.#held.delete(id)
    await this.#releases.run({ attempt, isJobDone })
  }

  /**
   * Ends a job for good and inserts the next one, in one transaction. Does nothing if the lease is lost.
   * @throws StoreUnavailableError if the transaction failed: the job is still held
   */
  async complete (id: string, next: { data: Data, startAfter: number } | undefined): Promise<void> {
    const { queue, database } = this.#options
    const attempt = this.#held.get(id)
    if (attempt === undefined) return
    await database.transaction(async (db) => {
      const completed = readSettled(await database.boss.complete(queue, attempt, null, { db }))
      if (completed.length > 0 && next !== undefined) await database.boss.insert(queue, [next], { db })
    })
    this.#held.delete(id)
  }

  /** Stops renewing these leases: they expire, and then any instance can claim the jobs. */
  abandon (ids: string[]): void {
    for (const id of ids) this.#held.delete(id)
  }

  async close (): Promise<void> {
    clearInterval(this.#timer)
    await this.#renewing
    await this.#releases.drain()
  }

  async #releaseAll (releases: LeaseRelease[]): Promise<void[]> {
    const { boss, withRetry } = this.#options.database
    const done = releases.filter(({ isJobDone }) => isJobDone).map(({ attempt }) => attempt)
    const open = releases.filter(({ isJobDone }) => !isJobDone).map(({ attempt }) => attempt)
    if (done.length > 0) await withRetry(() => boss.complete(this.#options.queue, done))
    if (open.length > 0) await withRetry(() => boss.fail(this.#options.queue, open, { message: 'released' }))
    return releases.map(() => undefined)
  }

  #renew (): void {
    if (this.#held.size === 0) return
    this.#renewing ??= this.#renewAll()
      .catch((err: unknown) => this.#options.log.debug({ err }, 'Could not renew the leases'))
      .finally(() => { this.#renewing = undefined })
  }

  async #renewAll (): Promise<void> {
    const attempts = Array.from(this.#held.values())
    const kept = new Set(readSettled(await this.#options.database.boss.touch(this.#options.queue, attempts)))
    for (const attempt of attempts) {
      if (kept.has(attempt.id) || this.#held.get(attempt.id) !== attempt) continue
      this.#held.delete(attempt.id)
      for (const notify of this.#lostListeners) notify(attempt.id)
    }
  }
}

/** The ids of the jobs that pg-boss changed: its response has them in `settled`, which its type does not declare. */
function readSettled (response: object): string[] {
  if (!('settled' in response) || !Array.isArray(response.settled)) throw new Error('This version of pg-boss does not report which jobs it changed')
  return response.settled
}
