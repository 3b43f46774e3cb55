import type { Log } from '../../runtime/log.ts'
import { isOpen, type Task } from '../../tasks/task.ts'
import { ClaimHealth } from '../claim-health.ts'
import { StoreUnavailableError } from '../store-errors.ts'
import { openCondition } from '../task-conditions.ts'
import { isRetryable, isTransient } from './database-retry.ts'
import { JobLeases } from './job-leases.ts'
import { generationQueue, type PostgresDatabase } from './postgres-database.ts'

export interface PostgresTaskClaimsOptions {
  database: PostgresDatabase
  loadTask: (taskId: string) => Promise<Task | undefined>
  log: Log
}

/** Priorities of jobs that go ahead of others, see `priorityOf`: the task was submitted and its holder is gone, or its deadline has passed. */
const submittedPriority = 1
const overduePriority = 2

/** The tasks that this instance holds: it has leased their jobs from pg-boss. */
export class PostgresTaskClaims {
  #options
  #leases
  /** A connection that was lost comes back by itself; a table that is missing or damaged does not. */
  #health = new ClaimHealth((error) => error instanceof StoreUnavailableError && !isRetryable(error.cause))

  constructor (options: PostgresTaskClaimsOptions) {
    this.#options = options
    const { database, log } = options
    this.#leases = new JobLeases<object>({ database, queue: generationQueue, log })
  }

  /** @throws StoreUnavailableError while tasks cannot be claimed */
  assertHealthy (): void {
    this.#health.assertHealthy()
  }

  async claim (limit: number): Promise<Task[]> {
    return this.#health.track(async () => {
      const tasks = await this.#loadTasks(await asUnavailable(() => this.#leases.claim(limit)))
      this.#health.recordSuccess()
      return tasks
    })
  }

  /** @param now ms since the epoch */
  async claimOverdue (now: number, limit: number): Promise<Task[]> {
    return this.#claimAhead(`${openCondition} and deadline_at <= $3 order by deadline_at`, [now], { priority: overduePriority, limit })
  }

  async claimSubmitted (limit: number): Promise<Task[]> {
    return this.#claimAhead(`(task.state in ('generating', 'storing') or (task.state = 'submitting' and submission is not null and prediction_id is null))
      order by task.id`, [], { priority: submittedPriority, limit })
  }

  /** Releases a task for the next instance that claims, or ends its job if the task has ended or is gone. */
  async release (id: string): Promise<void> {
    const task = await this.#options.loadTask(id).catch((error: unknown) => {
      // This instance no longer works on the task, so its lease must not be renewed: it expires, and another instance continues.
      this.#leases.abandon([id])
      throw error
    })
    await asUnavailable(() => this.#leases.release(id, task === undefined || !isOpen(task)))
  }

  onLeaseLost (listener: (taskId: string) => void): void {
    this.#leases.onLost((taskId) => {
      this.#options.log.warn({ task_id: taskId }, 'The lease of a task was lost; another instance continues with it')
      listener(taskId)
    })
  }

  close (): Promise<void> {
    return this.#leases.close()
  }

  /**
   * Puts the jobs of these tasks ahead of all others, and claims them.
   * @param which the end of a query of tasks and their jobs; its parameters begin at $3
   */
  async #claimAhead (which: string, values: unknown[], { priority, limit }: { priority: number, limit: number }): Promise<Task[]> {
    const { boss, withRetry, query } = this.#options.database
    const waiting = await this.#health.track(() => query(`select task.id, job.priority from task join pgboss.job on job.name = $1 and job.id = task.id
      where job.state < 'active' and ${which} limit $2`, [generationQueue, limit, ...values]))
    if (waiting.length === 0) return []
    // pg-boss's public method to change a job: it leaves alone the jobs that an instance has fetched meanwhile.
    await Promise.all(waiting.filter((job) => Number(job.priority) < priority)
      .map(({ id }) => withRetry(() => boss.update(generationQueue, undefined, { id: String(id), priority }))))
    return this.#loadTasks(await asUnavailable(() => this.#leases.claim(Math.min(limit, waiting.length), priority)))
  }

  /**
   * A job whose task has ended or is gone is over. An error with one job does not affect the others: all of them are leased
   * to this instance now, and only the tasks that are returned are worked on.
   * @returns the open tasks, in the order of the jobs
   * @throws StoreUnavailableError if no task could be read
   */
  async #loadTasks (jobs: Array<{ id: string }>): Promise<Task[]> {
    const reads = await Promise.allSettled(jobs.map(async ({ id }) => ({ id, task: await this.#options.loadTask(id) })))
    const found = reads.flatMap((read) => read.status === 'fulfilled' ? [read.value] : [])
    this.#abandonUnread(jobs, reads.filter((read) => read.status === 'rejected'), found)
    const ended = found.filter(({ task }) => task === undefined || !isOpen(task))
    await Promise.all(ended.map(({ id }) => this.#leases.release(id, true))).catch((err: unknown) => {
      this.#options.log.warn({ err }, 'The jobs of tasks that have ended could not be completed; their leases expire')
    })
    return found.flatMap(({ task }) => task !== undefined && isOpen(task) ? [task] : [])
  }

  #abandonUnread (jobs: Array<{ id: string }>, failures: PromiseRejectedResult[], found: Array<{ id: string }>): void {
    const [first] = failures
    if (first === undefined) return
    const foundIds = new Set(found.map(({ id }) => id))
    this.#leases.abandon(jobs.flatMap(({ id }) => foundIds.has(id) ? [] : [id]))
    if (found.length === 0) throw first.reason
    this.#options.log.warn({ err: first.reason, tasks: failures.length }, 'Some tasks that were claimed could not be read; their leases expire')
  }
}

async function asUnavailable<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof StoreUnavailableError ? error : new StoreUnavailableError(error, { isTransient: isTransient(error) })
  }
}
