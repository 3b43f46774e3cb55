import { backoffDelay, wait } from './backoff.ts'
import { ClaimLoop } from './claim-loop.ts'
import type { Log } from './log.ts'
import { isOpen, type Task } from './task.ts'
import type { TaskStore } from './task-store.ts'

/** Carries a claimed task to its end. Rejects when the signal is aborted, or when it could not go on for the moment. */
export type Job = (task: Task, signal: AbortSignal) => Promise<void>

/** Aborted when the task is lost, or when the instance stops. */
interface Held { done: Promise<void>, over: AbortController, isLost: boolean }

export interface JobRunnerOptions {
  taskStore: TaskStore
  job: Job
  /** Ends a task whose job still throws at its deadline: no retry goes on for ever. */
  giveUp: (task: Task, signal: AbortSignal) => Promise<void>
  /** How many tasks this instance holds at a time. */
  maxInFlight: number
  /** How many more may be claimed at the moment: tasks that cannot be handed over yet wait in the store, not here. */
  room: () => number
  /** How often, in ms, to look for tasks that nobody has announced, overdue ones first. */
  lookIntervalMs: number
  /** aborted by `stop`; everything that jobs use may listen to it */
  stopping: AbortController
  now: () => number
  log: Log
}

const retry = { first: 500, longest: 30_000 }
const overdueBatch = 100

/**
 * Owns every background job of this instance: claims open tasks, runs each as a promise, tries again what could not
 * go on, and brings all of them to a safe point when it stops.
 */
export class JobRunner {
  #options
  #running = new Map<string, Held>()
  #claims
  /** What went wrong with the tasks that could not be handed back, since the stop began. */
  #notHandedBack: unknown[] = []

  constructor (options: JobRunnerOptions) {
    this.#options = options
    const { lookIntervalMs, log } = options
    this.#claims = new ClaimLoop({ claim: () => this.#claim(), lookIntervalMs, log })
    options.taskStore.onLost((taskId) => {
      const held = this.#running.get(taskId)
      if (held === undefined) return
      held.isLost = true
      held.over.abort(new Error('Another instance holds the task now'))
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
    for (const { over } of this.#running.values()) over.abort(stopping.signal.reason)
    await this.#claims.stop()
    await Promise.all(Array.from(this.#running.values(), ({ done }) => done))
    const { length: tasks, 0: err } = this.#notHandedBack
    if (tasks > 0) this.#options.log.warn({ err, tasks }, 'Could not hand tasks back; another instance is given them when their leases lapse')
  }

  async #claim (): Promise<void> {
    const { taskStore, maxInFlight, room, stopping, now } = this.#options
    for (const task of await taskStore.claimOverdue(now(), overdueBatch)) this.#carry(task)
    if (stopping.signal.aborted) return
    const free = Math.min(maxInFlight - this.#running.size, room())
    if (free <= 0) return
    const claimed = await taskStore.claim(free)
    for (const task of claimed) this.#carry(task)
    if (claimed.length === free) this.wake()
  }

  #carry (task: Task): void {
    const { stopping, taskStore, log } = this.#options
    // Not of `AbortSignal.any`: the signal of the stop would keep a trace of every task that ever ran.
    const held: Held = { done: Promise.resolve(), over: new AbortController(), isLost: false }
    if (stopping.signal.aborted) held.over.abort(stopping.signal.reason)
    // A task that was lost and is given back may meet its earlier job still coming to its end.
    const earlier = this.#running.get(task.id)?.done ?? held.done
    held.done = earlier
      .then(() => this.#untilDone(task, held.over.signal))
      .then(() => held.isLost ? undefined : taskStore.release(task.id))
      .catch((err: unknown) => {
        if (stopping.signal.aborted) this.#notHandedBack.push(err)
        else log.error({ err, task_id: task.id }, 'Could not hand a task back')
      })
      .finally(() => {
        if (this.#running.get(task.id) === held) this.#running.delete(task.id)
        this.wake()
      })
    this.#running.set(task.id, held)
  }

  /** Whatever a job throws delays its task and loses nothing: the task is read again and the job goes on from there. */
  async #untilDone (claimed: Task, signal: AbortSignal): Promise<void> {
    const { job, giveUp, taskStore, now, log } = this.#options
    let task: Task | undefined = claimed
    for (let attempt = 0; task !== undefined && !signal.aborted; attempt++) {
      try {
        task = attempt === 0 ? task : await taskStore.get(claimed.id)
        if (task === undefined || !isOpen(task)) return
        return await (attempt > 0 && now() >= task.deadlineAt ? giveUp(task, signal) : job(task, signal))
      } catch (err) {
        if (signal.aborted) return
        log.error({ err, task_id: claimed.id }, 'A job could not go on; trying again')
      }
      await wait(backoffDelay(attempt, retry), signal).catch(() => undefined)
    }
  }
}
