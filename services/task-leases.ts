import type { Log } from './log.ts'
import { generationQueue, type PostgresDatabase } from './postgres-database.ts'
import { WriteGroup } from './write-group.ts'

export interface TaskLeasesOptions {
  database: PostgresDatabase
  log: Log
}

/** One attempt at a job: pg-boss lets nobody touch or end it who has another one. */
interface Attempt { id: string, retryCount: number }

interface Handback { attempt: Attempt, isEnded: boolean }

/** A third of the time after which a lease that is not renewed is given to somebody else. */
const renewalMs = 3_000
const batch = 1_000

/**
 * What this instance holds: jobs of pg-boss with the ids of their tasks. All are renewed by one statement; an instance
 * that does not renew, because it died or is frozen, loses them within 12 s.
 */
export class TaskLeases {
  #options
  #held = new Map<string, Attempt>()
  #lost: Array<(taskId: string) => void> = []
  #handbacks
  #timer: NodeJS.Timeout
  #renewing: Promise<void> | undefined

  constructor (options: TaskLeasesOptions) {
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

  /** Calls `listener` with each task whose lease turns out to be somebody else's now. */
  onLost (listener: (taskId: string) => void): void {
    this.#lost.push(listener)
  }

  /**
   * @param leastPriority takes only jobs of at least this priority
   * @returns the ids of at most `limit` tasks, the ones of the highest priority and then the oldest first
   */
  async claim (limit: number, leastPriority?: number): Promise<string[]> {
    const jobs = await this.#options.database.boss.fetch(generationQueue, {
      batchSize: Math.min(limit, batch), includeMetadata: true, ...(leastPriority !== undefined && { minPriority: leastPriority })
    })
    for (const { id, retryCount } of jobs) this.#held.set(id, { id, retryCount })
    return jobs.toSorted((a, b) => b.priority - a.priority || a.createdOn.getTime() - b.createdOn.getTime() || (a.id < b.id ? -1 : 1)).map(({ id }) => id)
  }

  /** Gives a lease up: for good where the task has ended, else to whoever claims next. */
  async release (taskId: string, isEnded: boolean): Promise<void> {
    const attempt = this.#held.get(taskId)
    if (attempt === undefined) return
    this.#held.delete(taskId)
    await this.#handbacks.run({ attempt, isEnded })
  }

  /** Renews these no more: somebody else is given them when that is noticed. */
  abandon (taskIds: string[]): void {
    for (const taskId of taskIds) this.#held.delete(taskId)
  }

  async close (): Promise<void> {
    clearInterval(this.#timer)
    await this.#renewing
    await this.#handbacks.settle()
  }

  async #handAllBack (handbacks: Handback[]): Promise<void[]> {
    const { boss, patiently } = this.#options.database
    const ended = handbacks.filter(({ isEnded }) => isEnded).map(({ attempt }) => attempt)
    const open = handbacks.filter(({ isEnded }) => !isEnded).map(({ attempt }) => attempt)
    if (ended.length > 0) await patiently(() => boss.complete(generationQueue, ended))
    if (open.length > 0) await patiently(() => boss.fail(generationQueue, open, { message: 'handed back' }))
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
    const kept = new Set(settledOf(await this.#options.database.boss.touch(generationQueue, attempts)))
    for (const attempt of attempts) {
      if (kept.has(attempt.id) || this.#held.get(attempt.id) !== attempt) continue
      this.#held.delete(attempt.id)
      this.#options.log.warn({ task_id: attempt.id }, 'The lease of a task was lost; another instance goes on with it')
      for (const tell of this.#lost) tell(attempt.id)
    }
  }
}

/** pg-boss answers `jobs`, the ids that it was asked for; its type leaves out `settled`, those that it did something to. */
function settledOf (response: object): string[] {
  if (!('settled' in response) || !Array.isArray(response.settled)) throw new Error('This version of pg-boss does not say which leases it renewed')
  return response.settled
}
