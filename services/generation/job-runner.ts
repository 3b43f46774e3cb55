import { LRUCache } from 'lru-cache'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import { ClaimLoop } from '../runtime/claim-loop.ts'
import type { Log } from '../runtime/log.ts'
import { isOpen, type Task } from '../tasks/task.ts'
import type { TaskStore } from '../store/task-store.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'

/** Carries a claimed task to its end. Rejects when the signal is aborted, or when it could not go on for the moment. */
export type Job = (task: Task, signal: AbortSignal) => Promise<void>

/** Aborted when the task is lost, or when the instance stops. */
interface RunningJob { done: Promise<void>, controller: AbortController, isLost: boolean }

export interface JobRunnerOptions {
  taskStore: TaskStore
  job: Job
  /** Ends a task whose job still throws at its deadline: no retry goes on for ever. */
  failOverdue: (task: Task, signal: AbortSignal) => Promise<void>
  /** How many tasks this instance holds at a time. */
  maxInFlight: number
  /** How many more may be claimed at the moment: tasks that cannot be handed over yet wait in the store, not here. */
  capacity: () => number
  /** How often, in ms, to look for tasks that nobody has announced, overdue ones first. */
  claimIntervalMs: number
  /** aborted by `stop`; everything that jobs use may listen to it */
  stopping: AbortController
  now: () => number
  log: Log
}

const jobBackoff = { firstMs: 500, maxMs: 30_000 }
/** Each costs PostgreSQL a statement of its own. */
const urgentBatchSize = 100
/** Tries to end a task that is past its deadline before it is handed back. */
const maxFailAttempts = 5

/**
 * Owns every background job of this instance: claims open tasks, runs each as a promise, tries again what could not
 * go on, and brings all of them to a safe point when it stops.
 */
export class JobRunner {
  #options
  #running = new Map<string, RunningJob>()
  #claims
  /** What went wrong with the tasks that could not be handed back, since the stop began. */
  #releaseErrors: unknown[] = []
  /** When to look again for submitted tasks that no instance works on, by the monotonic clock. */
  #nextSubmittedClaimAt = 0
  #isUrgentClaimFailing = false
  /** Tasks that were handed back because their end could not be written. */
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

  /** How many tasks are held at the moment. */
  get inFlight (): number {
    return this.#running.size
  }

  /** Resumes every open task, up to the limit, and goes on to claim until stopped. */
  start (): void {
    this.#claims.start()
  }

  /** Says that there may be something to claim. Returns at once; the work begins in a later turn of the event loop. */
  wake (): void {
    this.#claims.wake()
  }

  /**
   * Claims and sends nothing more from the moment it is called, brings every job to a safe point and hands its task
   * back. Never waits for a generation.
   */
  async stop (): Promise<void> {
    const { stopping } = this.#options
    stopping.abort(new Error('The instance is stopping'))
    for (const { controller } of this.#running.values()) controller.abort(stopping.signal.reason)
    await this.#claims.stop()
    await Promise.all(Array.from(this.#running.values(), ({ done }) => done))
    const { length: tasks, 0: err } = this.#releaseErrors
    if (tasks > 0) this.#options.log.warn({ err, tasks }, 'Could not hand tasks back; another instance is given them when their leases lapse')
  }

  async #claim (): Promise<void> {
    const { taskStore, maxInFlight, capacity, stopping, now } = this.#options
    await this.#claimUrgent(() => taskStore.claimOverdue(now(), urgentBatchSize))
    await this.#claimSubmitted()
    if (stopping.signal.aborted) return
    const free = Math.min(maxInFlight - this.#running.size, capacity())
    if (free <= 0) return
    const claimed = await taskStore.claim(free)
    for (const task of claimed) this.#run(task)
    if (claimed.length === free) this.wake()
  }

  /**
   * Tasks of an instance that died, in whose predictions money has been put already: they do not wait for a provider that
   * takes nothing new. Once in each interval, for it asks about every task in flight, on any instance.
   */
  async #claimSubmitted (): Promise<void> {
    const { taskStore, maxInFlight, claimIntervalMs } = this.#options
    const free = Math.min(urgentBatchSize, maxInFlight - this.#running.size)
    if (free <= 0 || performance.now() < this.#nextSubmittedClaimAt) return
    this.#nextSubmittedClaimAt = performance.now() + claimIntervalMs
    await this.#claimUrgent(() => taskStore.claimSubmitted(free))
  }

  /** Tasks that cannot go ahead of others are claimed in their turn, with all others. */
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
    // Not of `AbortSignal.any`: the signal of the stop would keep a trace of every task that ever ran.
    const running: RunningJob = { done: Promise.resolve(), controller: new AbortController(), isLost: false }
    if (stopping.signal.aborted) running.controller.abort(stopping.signal.reason)
    // A task that was lost and is given back may meet its earlier job still coming to its end.
    const earlier = this.#running.get(task.id)?.done ?? running.done
    running.done = earlier
      .then(() => this.#runToEnd(task, running.controller.signal))
      .then(() => running.isLost ? undefined : taskStore.release(task.id))
      .catch((err: unknown) => {
        if (stopping.signal.aborted) this.#releaseErrors.push(err)
        else log.error({ err, task_id: task.id }, 'Could not hand a task back')
      })
      .finally(() => {
        if (this.#running.get(task.id) === running) this.#running.delete(task.id)
        this.wake()
      })
    this.#running.set(task.id, running)
  }

  /**
   * Whatever a job throws delays its task and loses nothing: the task is read again and the job goes on from there. A task
   * whose end cannot be written is handed back after some tries: another instance, or a later try, may do better. It is
   * an error in the log once.
   */
  async #runToEnd (claimed: Task, signal: AbortSignal): Promise<void> {
    const { job, failOverdue, taskStore, now, log } = this.#options
    const { id } = claimed
    let task: Task | undefined = claimed
    let failedEnds = 0
    for (let attempt = 0; task !== undefined && !signal.aborted; attempt++) {
      let isLate = false
      try {
        task = attempt === 0 ? task : await taskStore.get(id)
        if (task === undefined || !isOpen(task)) return this.#forgetStuck(id)
        isLate = now() >= task.deadlineAt && (attempt > 0 || this.#stuck.has(id))
        await (isLate ? failOverdue(task, signal) : job(task, signal))
        return this.#forgetStuck(id)
      } catch (err) {
        if (signal.aborted) return
        if (isLate && ++failedEnds >= maxFailAttempts) return this.#markStuck(id, err)
        if (!this.#stuck.has(id)) log.error({ err, task_id: id }, 'A job could not go on; trying again')
      }
      await wait(backoffDelay(attempt, jobBackoff), signal).catch(() => undefined)
    }
  }

  #forgetStuck (taskId: string): void {
    this.#stuck.delete(taskId)
  }

  #markStuck (taskId: string, err: unknown): void {
    const { log } = this.#options
    if (!this.#stuck.has(taskId)) log.error({ err, task_id: taskId }, 'The end of a task cannot be written; it is handed back and tried again now and then')
    this.#stuck.set(taskId, true)
  }
}
