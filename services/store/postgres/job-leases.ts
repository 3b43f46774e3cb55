import type { Log } from '../../runtime/log.ts'
import type { PostgresDatabase } from './postgres-database.ts'
import { PostgresWriteBatcher } from './postgres-write-batcher.ts'

export interface JobLeasesOptions {
  database: PostgresDatabase
  /** the name of the queue */
  queue: string
  log: Log
}

/** One attempt at a job: pg-boss lets nobody touch or end it who has another one. */
interface Attempt { id: string, retryCount: number }

export interface LeasedJob<Data> { id: string, data: Data }

interface LeaseRelease { attempt: Attempt, isJobDone: boolean }

/** A third of the time after which a lease that is not renewed is given to somebody else. */
const renewalMs = 3_000
const batch = 1_000

/**
 * The jobs of one queue of pg-boss that this instance holds. All are renewed by one statement; an instance that does not
 * renew, because it died or is frozen, loses them within 12 s.
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
      maxBatchSize: batch,
      maxConcurrentBatches: 1,
      timeoutMs: Infinity
    })
    this.#timer = setInterval(() => this.#renew(), renewalMs).unref()
  }

  /** Calls `listener` with the id of each job that turns out to be somebody else's now. */
  onLost (listener: (id: string) => void): void {
    this.#lostListeners.push(listener)
  }

  /**
   * @param minPriority takes only jobs of at least this priority
   * @returns at most `limit` jobs, the ones of the highest priority and then the oldest first
   */
  async claim (limit: number, minPriority?: number): Promise<Array<LeasedJob<Data>>> {
    const jobs = await this.#options.database.boss.fetch<Data>(this.#options.queue, {
      batchSize: Math.min(limit, batch), includeMetadata: true, ...(minPriority !== undefined && { minPriority })
    })
    for (const { id, retryCount } of jobs) this.#held.set(id, { id, retryCount })
    return jobs.toSorted((a, b) => b.priority - a.priority || a.createdOn.getTime() - b.createdOn.getTime() || (a.id < b.id ? -1 : 1))
  }

  /** Gives a lease up: for good where the job is over, else to whoever claims next. */
  async release (id: string, isJobDone: boolean): Promise<void> {
    const attempt = this.#held.get(id)
    if (attempt === undefined) return
    this.#held.delete(id)
    await this.#releases.run({ attempt, isJobDone })
  }

  /**
   * Ends a job for good and puts the next one in its place, both or neither. Nothing happens where the lease is lost.
   * @throws StoreUnavailableError: it is held as before
   */
  async complete (id: string, next: { data: Data, startAfter: number } | undefined): Promise<void> {
    const { queue, database } = this.#options
    const attempt = this.#held.get(id)
    if (attempt === undefined) return
    await database.transaction(async (db) => {
      const ended = readSettled(await database.boss.complete(queue, attempt, null, { db }))
      if (ended.length > 0 && next !== undefined) await database.boss.insert(queue, [next], { db })
    })
    this.#held.delete(id)
  }

  /** Renews these no more: somebody else is given them when that is noticed. */
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
    const ended = releases.filter(({ isJobDone }) => isJobDone).map(({ attempt }) => attempt)
    const open = releases.filter(({ isJobDone }) => !isJobDone).map(({ attempt }) => attempt)
    if (ended.length > 0) await withRetry(() => boss.complete(this.#options.queue, ended))
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
      for (const tell of this.#lostListeners) tell(attempt.id)
    }
  }
}

/** pg-boss answers `jobs`, the ids that it was asked for; its type leaves out `settled`, those that it did something to. */
function readSettled (response: object): string[] {
  if (!('settled' in response) || !Array.isArray(response.settled)) throw new Error('This version of pg-boss does not say to which jobs it did something')
  return response.settled
}
