import type { Log } from '../../runtime/log.ts'
import type { PostgresDatabase } from './postgres-database.ts'
import { WriteGroup } from './postgres-write-batcher.ts'

export interface JobLeasesOptions {
  database: PostgresDatabase
  /** the name of the queue */
  queue: string
  log: Log
}

/** One attempt at a job: pg-boss lets nobody touch or end it who has another one. */
interface Attempt { id: string, retryCount: number }

export interface LeasedJob<Data> { id: string, data: Data }

interface Handback { attempt: Attempt, isOver: boolean }

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
  #lost: Array<(id: string) => void> = []
  #handbacks
  #timer: NodeJS.Timeout
  #renewing: Promise<void> | undefined

  constructor (options: JobLeasesOptions) {
    this.#options = options
    this.#handbacks = new WriteGroup<Handback, void>({
      commit: (handbacks) => this.#handAllBack(handbacks),
      keyOf: ({ attempt }) => attempt.id,
      mostInGroup: batch,
      groupsAtOnce: 1,
      longestWaitMs: Infinity
    })
    this.#timer = setInterval(() => this.#renew(), renewalMs).unref()
  }

  /** Calls `listener` with the id of each job that turns out to be somebody else's now. */
  onLost (listener: (id: string) => void): void {
    this.#lost.push(listener)
  }

  /**
   * @param leastPriority takes only jobs of at least this priority
   * @returns at most `limit` jobs, the ones of the highest priority and then the oldest first
   */
  async claim (limit: number, leastPriority?: number): Promise<Array<LeasedJob<Data>>> {
    const jobs = await this.#options.database.boss.fetch<Data>(this.#options.queue, {
      batchSize: Math.min(limit, batch), includeMetadata: true, ...(leastPriority !== undefined && { minPriority: leastPriority })
    })
    for (const { id, retryCount } of jobs) this.#held.set(id, { id, retryCount })
    return jobs.toSorted((a, b) => b.priority - a.priority || a.createdOn.getTime() - b.createdOn.getTime() || (a.id < b.id ? -1 : 1))
  }

  /** Gives a lease up: for good where the job is over, else to whoever claims next. */
  async release (id: string, isOver: boolean): Promise<void> {
    const attempt = this.#held.get(id)
    if (attempt === undefined) return
    this.#held.delete(id)
    await this.#handbacks.run({ attempt, isOver })
  }

  /**
   * Ends a job for good and puts the next one in its place, both or neither. Nothing happens where the lease is lost.
   * @throws StoreUnavailableError: it is held as before
   */
  async end (id: string, next: { data: Data, startAfter: number } | undefined): Promise<void> {
    const { queue, database } = this.#options
    const attempt = this.#held.get(id)
    if (attempt === undefined) return
    await database.transaction(async (db) => {
      const ended = settledOf(await database.boss.complete(queue, attempt, null, { db }))
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
    await this.#handbacks.settle()
  }

  async #handAllBack (handbacks: Handback[]): Promise<void[]> {
    const { boss, patiently } = this.#options.database
    const ended = handbacks.filter(({ isOver }) => isOver).map(({ attempt }) => attempt)
    const open = handbacks.filter(({ isOver }) => !isOver).map(({ attempt }) => attempt)
    if (ended.length > 0) await patiently(() => boss.complete(this.#options.queue, ended))
    if (open.length > 0) await patiently(() => boss.fail(this.#options.queue, open, { message: 'handed back' }))
    return handbacks.map(() => undefined)
  }

  #renew (): void {
    if (this.#held.size === 0) return
    this.#renewing ??= this.#renewAll()
      .catch((err: unknown) => this.#options.log.debug({ err }, 'Could not renew the leases'))
      .finally(() => { this.#renewing = undefined })
  }

  async #renewAll (): Promise<void> {
    const attempts = Array.from(this.#held.values())
    const kept = new Set(settledOf(await this.#options.database.boss.touch(this.#options.queue, attempts)))
    for (const attempt of attempts) {
      if (kept.has(attempt.id) || this.#held.get(attempt.id) !== attempt) continue
      this.#held.delete(attempt.id)
      for (const tell of this.#lost) tell(attempt.id)
    }
  }
}

/** pg-boss answers `jobs`, the ids that it was asked for; its type leaves out `settled`, those that it did something to. */
function settledOf (response: object): string[] {
  if (!('settled' in response) || !Array.isArray(response.settled)) throw new Error('This version of pg-boss does not say to which jobs it did something')
  return response.settled
}
