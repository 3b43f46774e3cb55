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
  claimIntervalMs: number
  /** aborted by `stop`; everything that jobs use may listen to it */
  stopping: AbortController
  now: () => number
  log: Log
}

const retry = { firstMs: 500, maxMs: 30_000 }
/** Each costs PostgreSQL a statement of its own. */
const aheadBatch = 100
/** Tries to end a task that is past its deadline before it is handed back. */
const mostEnds = 5

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
  /** When to look again for submitted tasks that no instance works on, by the monotonic clock. */
  #nextLookAt = 0
  #isOutOfOrder = false
  /** Tasks that were handed back because their end could not be written. */
  #unendable = new LRUCache<string, true>({ max: 1_000 })

  constructor (options: JobRunnerOptions) {
    this.#options = options
    const { claimIntervalMs, log } = options
    this.#claims = new ClaimLoop({ claim: () => this.#claim(), claimIntervalMs, log })
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
    await this.#claimAhead(() => taskStore.claimOverdue(now(), aheadBatch))
    await this.#claimSubmitted()
    if (stopping.signal.aborted) return
    const free = Math.min(maxInFlight - this.#running.size, room())
    if (free <= 0) return
    const claimed = await taskStore.claim(free)
    for (const task of claimed) this.#carry(task)
    if (claimed.length === free) this.wake()
  }

  /**
   * Tasks of an instance that died, in whose predictions money has been put already: they do not wait for a provider that
   * takes nothing new. Once in each interval, for it asks about every task in flight, on any instance.
   */
  async #claimSubmitted (): Promise<void> {
    const { taskStore, maxInFlight, claimIntervalMs } = this.#options
    const free = Math.min(aheadBatch, maxInFlight - this.#running.size)
    if (free <= 0 || performance.now() < this.#nextLookAt) return
    this.#nextLookAt = performance.now() + claimIntervalMs
    await this.#claimAhead(() => taskStore.claimSubmitted(free))
  }

  /** Tasks that cannot go ahead of others are claimed in their turn, with all others. */
  async #claimAhead (claim: () => Promise<Task[]>): Promise<void> {
    try {
      for (const task of await claim()) this.#carry(task)
      this.#isOutOfOrder = false
    } catch (err) {
      if (err instanceof StoreUnavailableError && err.isTransient) throw err
      if (!this.#isOutOfOrder) this.#options.log.error({ err }, 'Urgent tasks cannot be claimed ahead of others')
      this.#isOutOfOrder = true
    }
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

  /**
   * Whatever a job throws delays its task and loses nothing: the task is read again and the job goes on from there. A task
   * whose end cannot be written is handed back after some tries: another instance, or a later try, may do better. It is
   * an error in the log once.
   */
  async #untilDone (claimed: Task, signal: AbortSignal): Promise<void> {
    const { job, giveUp, taskStore, now, log } = this.#options
    const { id } = claimed
    let task: Task | undefined = claimed
    let failedEnds = 0
    for (let attempt = 0; task !== undefined && !signal.aborted; attempt++) {
      let isLate = false
      try {
        task = attempt === 0 ? task : await taskStore.get(id)
        if (task === undefined || !isOpen(task)) return this.#hasEnded(id)
        isLate = now() >= task.deadlineAt && (attempt > 0 || this.#unendable.has(id))
        await (isLate ? giveUp(task, signal) : job(task, signal))
        return this.#hasEnded(id)
      } catch (err) {
        if (signal.aborted) return
        if (isLate && ++failedEnds >= mostEnds) return this.#handBackUnended(id, err)
        if (!this.#unendable.has(id)) log.error({ err, task_id: id }, 'A job could not go on; trying again')
      }
      await wait(backoffDelay(attempt, retry), signal).catch(() => undefined)
    }
  }

  #hasEnded (taskId: string): void {
    this.#unendable.delete(taskId)
  }

  #handBackUnended (taskId: string, err: unknown): void {
    const { log } = this.#options
    if (!this.#unendable.has(taskId)) log.error({ err, task_id: taskId }, 'The end of a task cannot be written; it is handed back and tried again now and then')
    this.#unendable.set(taskId, true)
  }
}
