import { LRUCache } from 'lru-cache'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import { ClaimLoop } from '../runtime/claim-loop.ts'
import type { Log } from '../runtime/log.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'
import type { TaskStore } from '../store/task-store.ts'
import { isOpen, type Task } from '../tasks/task.ts'

/**
 * Carries a claimed task to its end. Rejects when the signal is aborted, or when it cannot continue at the moment.
 * `leaveFlight` gives up the job's place among those in flight, while the job goes on.
 */
export type Job = (task: Task, signal: AbortSignal, leaveFlight: () => void) => Promise<void>

/** The controller is aborted when the lease of the task is lost, or when the instance stops. */
interface RunningJob { done: Promise<void>, controller: AbortController, isLost: boolean, isInFlight: boolean }

export interface JobRunnerOptions {
  taskStore: TaskStore
  job: Job
  /** Ends a task whose job still throws at its deadline, so that no retry goes on for ever. */
  endOverdue: (task: Task, signal: AbortSignal) => Promise<void>
  /** how many tasks of this instance the provider may still have to work on */
  maxInFlight: number
  /** How many more tasks may be claimed at the moment: tasks that cannot be submitted yet wait in the store, not here. */
  capacity: () => number
  /** ms between claims without a notification, of overdue tasks first */
  claimIntervalMs: number
  /** aborted by `stop`; everything that jobs use can listen to it */
  stopping: AbortController
  now: () => number
  log: Log
}

const jobBackoff = { firstMs: 500, maxMs: 30_000 }
/** Limits a batch, because each task in it costs PostgreSQL a statement. */
const urgentBatchSize = 100
/** Attempts to end a task that is past its deadline, before it is released. */
const maxFailAttempts = 5

/**
 * Owns every background job of this instance: claims open tasks, runs a job for each, retries a job that throws, and brings
 * all of them to a safe point when it stops.
 */
export class JobRunner {
  #options
  #running = new Map<string, RunningJob>()
  #inFlight = 0
  #claims
  /** The errors of tasks that could not be released since the stop began. */
  #releaseErrors: unknown[] = []
  /** When submitted tasks without a holder are claimed again, by the monotonic clock. */
  #nextSubmittedClaimAt = 0
  #isUrgentClaimFailing = false
  /** Tasks that were released because their end could not be written. */
  #stuck = new LRUCache<string, true>({ max: 1_000 })

  constructor (options: JobRunnerOptions) {
    this.#options = options
    const { claimIntervalMs, log } = options
    this.#claims = new ClaimLoop({ claim: () => this.#claim(), claimIntervalMs, log })
    options.taskStore.onLeaseLost((taskId) => {
      const running = this.#running.get(taskId)
      if (running === undefined) return
      running.isLost = true
      running.controller.abort(new Error('Another instance holds the task now'))
    })
  }

  /** How many tasks are held at the moment, without those that only have to be stored. */
  get inFlight (): number {
    return this.#inFlight
  }

  /** Resumes open tasks, up to the limit, and claims more until it is stopped. */
  start (): void {
    this.#claims.start()
  }

  /** Notifies the runner that there may be tasks to claim. Returns at once; the work begins in a later turn of the event loop. */
  wake (): void {
    this.#claims.wake()
  }

  /**
   * Claims and sends nothing more from the moment it is called, brings every job to a safe point and releases its task. It
   * never waits for a generation.
   */
  async stop (): Promise<void> {
    const { stopping } = this.#options
    stopping.abort(new Error('The instance is stopping'))
    for (const { controller } of this.#running.values()) controller.abort(stopping.signal.reason)
    await this.#claims.stop()
    await Promise.all(Array.from(this.#running.values(), ({ done }) => done))
    const { length: tasks, 0: err } = this.#releaseErrors
    if (tasks > 0) this.#options.log.warn({ err, tasks }, 'Could not release tasks; another instance claims them when their leases expire')
  }

  async #claim (): Promise<void> {
    const { taskStore, maxInFlight, capacity, stopping, now } = this.#options
    await this.#claimUrgent(() => taskStore.claimOverdue(now(), urgentBatchSize))
    await this.#claimSubmitted()
    if (stopping.signal.aborted) return
    const free = Math.min(maxInFlight - this.#inFlight, capacity())
    if (free <= 0) return
    const claimed = await taskStore.claim(free)
    for (const task of claimed) this.#run(task)
    if (claimed.length === free) this.wake()
  }

  /**
   * Claims the submitted tasks of an instance that died. Their predictions are paid for, so they are resumed even while the
   * provider takes no new ones. Once in each interval only, because the query covers every task in flight on any instance.
   */
  async #claimSubmitted (): Promise<void> {
    const { taskStore, maxInFlight, claimIntervalMs } = this.#options
    const free = Math.min(urgentBatchSize, maxInFlight - this.#inFlight)
    if (free <= 0 || performance.now() < this.#nextSubmittedClaimAt) return
    this.#nextSubmittedClaimAt = performance.now() + claimIntervalMs
    await this.#claimUrgent(() => taskStore.claimSubmitted(free))
  }

  /** If urgent tasks cannot be claimed ahead of others, they are claimed in their turn, with all others. */
  async #claimUrgent (claim: () => Promise<Task[]>): Promise<void> {
    try {
      for (const task of await claim()) this.#run(task)
      this.#isUrgentClaimFailing = false
    } catch (err) {
      if (err instanceof StoreUnavailableError && err.isTransient) throw err
      if (!this.#isUrgentClaimFailing) this.#options.log.error({ err }, 'Urgent tasks cannot be claimed ahead of others')
      this.#isUrgentClaimFailing = true
    }
  }

  #run (task: Task): void {
    const { stopping, taskStore, log } = this.#options
    // Not by `AbortSignal.any`: the signal of the stop would keep a reference for every task that ever ran.
    const running: RunningJob = { done: Promise.resolve(), controller: new AbortController(), isLost: false, isInFlight: true }
    this.#inFlight++
    if (stopping.signal.aborted) running.controller.abort(stopping.signal.reason)
    // A task that was lost and is claimed again may meet its earlier job, which has not ended yet.
    const earlier = this.#running.get(task.id)?.done ?? running.done
    running.done = earlier
      .then(() => this.#runToEnd(task, running.controller.signal, () => this.#leaveFlight(running)))
      .then(() => running.isLost ? undefined : taskStore.release(task.id))
      .catch((err: unknown) => {
        if (stopping.signal.aborted) this.#releaseErrors.push(err)
        else log.error({ err, task_id: task.id }, 'Could not release a task')
      })
      .finally(() => {
        if (this.#running.get(task.id) === running) this.#running.delete(task.id)
        if (running.isInFlight) this.#inFlight--
        this.wake()
      })
    this.#running.set(task.id, running)
  }

  /** A video that cannot be stored yet does not keep other tasks from the provider. */
  #leaveFlight (running: RunningJob): void {
    if (!running.isInFlight) return
    running.isInFlight = false
    this.#inFlight--
    this.wake()
  }

  /**
   * A job that throws delays its task and loses nothing: the task is read again, and the job continues from there. A task
   * whose end cannot be written is released after some attempts, because another instance or a later attempt may succeed.
   * The log has one error line for it.
   */
  async #runToEnd (claimed: Task, signal: AbortSignal, leaveFlight: () => void): Promise<void> {
    const { job, endOverdue, taskStore, now, log } = this.#options
    const { id } = claimed
    let task: Task | undefined = claimed
    let failedEnds = 0
    for (let attempt = 0; task !== undefined && !signal.aborted; attempt++) {
      let isLate = false
      try {
        task = attempt === 0 ? task : await taskStore.get(id)
        if (task === undefined || !isOpen(task)) return this.#forgetStuck(id)
        isLate = now() >= task.deadlineAt && (attempt > 0 || this.#stuck.has(id))
        await (isLate ? endOverdue(task, signal) : job(task, signal, leaveFlight))
        return this.#forgetStuck(id)
      } catch (err) {
        if (signal.aborted) return
        if (isLate && ++failedEnds >= maxFailAttempts) return this.#markStuck(id, err)
        if (!this.#stuck.has(id)) log.error({ err, task_id: id }, 'A job has failed; trying again')
      }
      await wait(backoffDelay(attempt, jobBackoff), signal).catch(() => undefined)
    }
  }

  #forgetStuck (taskId: string): void {
    this.#stuck.delete(taskId)
  }

  #markStuck (taskId: string, err: unknown): void {
    const { log } = this.#options
    if (!this.#stuck.has(taskId)) log.error({ err, task_id: taskId }, 'The end of a task cannot be written; it is released, and the attempt is repeated from time to time')
    this.#stuck.set(taskId, true)
  }
}
