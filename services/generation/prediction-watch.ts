import { LRUCache } from 'lru-cache'
import { isEnded, type Prediction } from '../replicate/prediction.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import { backoffDelay } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { TaskStore } from '../store/task-store.ts'
import { inTrace } from '../telemetry/trace-context.ts'
import { PollSchedule } from './poll-schedule.ts'
import { PredictionMailbox, type PredictionUpdate } from './prediction-mailbox.ts'
import { PredictionSweeper } from './prediction-sweeper.ts'
import { UnclaimedResults } from './unclaimed-results.ts'

export interface PredictionWatchOptions {
  replicate: ReplicateClient
  /** Knows the predictions in flight on all instances, and which instance sweeps. */
  taskStore: Pick<TaskStore, 'listInFlight' | 'acquireSweep' | 'requestPoll'>
  /** ms from one read of a prediction to the next; longer where the limit on calls does not allow it */
  pollIntervalMs: number
  /** the same for a prediction whose end is reported by a webhook: its reads are only the fallback */
  fallbackPollMs: number
  /** how many predictions in flight it takes for sweeps over the list to replace reads of single predictions */
  sweepThreshold: number
  /** ms since the epoch */
  now: () => number
  log: Log
  /** aborted when the instance stops */
  signal: AbortSignal
}

export interface WatchedPrediction {
  taskId: string
  predictionId: string
  /** ms since the epoch, by the provider's clock; null where the provider did not say, and no sweep finds the prediction */
  createdAt: number | null
  /** of the task; null if it is not traced */
  traceparent: string | null
  /** whether the provider was asked to report the end of the prediction to this service */
  isReported: boolean
  /** Whether a process watched the prediction before and may have missed something: the prediction is read at once. */
  isResumed: boolean
}

interface Watcher extends WatchedPrediction {
  mailbox: PredictionMailbox
  /** consecutive reads that failed */
  failures: number
}

const maxConcurrentReads = 16
const maxBackoffMs = 30_000
/** A webhook or a request to poll can come before this instance watches the prediction. */
const unclaimed = { max: 1_000, ttlMs: 60_000 }

/**
 * Watches all predictions in flight on this instance and hands each update to the task that waits for it. Updates come
 * from reads of single predictions, from sweeps over the list where the predictions are many, and from webhooks.
 */
export class PredictionWatch {
  #options
  #watchers = new Map<string, Watcher>()
  #watchersByTask = new Map<string, Watcher>()
  #unclaimedResults = new UnclaimedResults(unclaimed)
  /** Tasks whose prediction is read as soon as this instance watches it. */
  #requestedPolls = new LRUCache<string, true>({ max: unclaimed.max, ttl: unclaimed.ttlMs, ttlAutopurge: true })
  #schedule
  #sweeper
  #isSweeping = false
  #nextSweepAt = 0

  constructor (options: PredictionWatchOptions) {
    this.#options = options
    this.#schedule = new PollSchedule<Watcher>({
      poll: (watcher) => this.#poll(watcher),
      maxConcurrent: maxConcurrentReads,
      isPaused: () => this.#watchers.size >= options.sweepThreshold,
      onPausedDue: () => this.#scheduleSweep()
    })
    this.#sweeper = new PredictionSweeper({
      ...options,
      isWatched: (predictionId) => this.#watchers.has(predictionId),
      publish: (prediction) => this.#watchers.get(prediction.id)?.mailbox.put({ outcome: 'found', prediction }),
      poll: (predictionIds) => this.#schedule.pollAll(Array.from(this.#watchers.values()).filter(({ predictionId }) => predictionIds.has(predictionId)))
    })
  }

  /**
   * Yields the updates of a prediction, in the order in which they come, until the time `until`.
   * @param until ms since the epoch
   * @throws the signal's reason once it is aborted
   */
  async * watch (watched: WatchedPrediction, until: number, signal: AbortSignal): AsyncGenerator<PredictionUpdate> {
    const mailbox = new PredictionMailbox()
    const watcher = { ...watched, mailbox, failures: 0 }
    this.#add(watcher)
    try {
      for (;;) {
        for (let update = mailbox.take(); update !== undefined; update = mailbox.take()) yield update
        if (this.#options.now() >= until) return
        await mailbox.wait(until - this.#options.now(), signal)
      }
    } finally {
      this.#schedule.remove(watcher)
      this.#watchers.delete(watched.predictionId)
      this.#watchersByTask.delete(watched.taskId)
    }
  }

  /**
   * Hands a prediction that a webhook has brought to the task that watches it. The end of a prediction that is not watched
   * yet is kept for a minute.
   * @returns false where no task on this instance watches the prediction
   */
  publish (prediction: Prediction): boolean {
    const watcher = this.#watchers.get(prediction.id)
    if (watcher !== undefined) watcher.mailbox.put({ outcome: 'found', prediction })
    else if (isEnded(prediction)) this.#unclaimedResults.keep(prediction)
    return watcher !== undefined
  }

  /**
   * Makes the job that watches the task's prediction read the task again.
   * @returns false where this instance does not watch it
   */
  refreshTask (taskId: string): boolean {
    const watcher = this.#watchersByTask.get(taskId)
    watcher?.mailbox.put({ outcome: 'task_changed' })
    return watcher !== undefined
  }

  /** Makes all jobs read their task again, after events may have been missed. */
  refreshAllTasks (): void {
    for (const { mailbox } of this.#watchers.values()) mailbox.put({ outcome: 'task_changed' })
  }

  /** Reads the task's prediction before all that are due. Where it is not watched yet, the request holds for a minute. */
  pollNow (taskId: string): void {
    const watcher = this.#watchersByTask.get(taskId)
    if (watcher === undefined) this.#requestedPolls.set(taskId, true)
    else this.#schedule.request(watcher)
  }

  #add (watcher: Watcher): void {
    this.#watchers.set(watcher.predictionId, watcher)
    this.#watchersByTask.set(watcher.taskId, watcher)
    const result = this.#unclaimedResults.get(watcher.predictionId)
    if (result !== undefined) watcher.mailbox.put({ outcome: 'found', prediction: result })
    const isUrgent = this.#requestedPolls.delete(watcher.taskId) || watcher.isResumed
    this.#schedule.add(watcher, isUrgent ? 0 : this.#pollInterval(watcher))
  }

  #pollInterval ({ isReported }: WatchedPrediction): number {
    return isReported ? this.#options.fallbackPollMs : this.#options.pollIntervalMs
  }

  /** Never rejects: every failure of the provider or the network is an outcome. */
  async #poll (watcher: Watcher): Promise<void> {
    const { replicate, signal } = this.#options
    const read = await inTrace(watcher.traceparent, () => replicate.get(watcher.predictionId, { signal }))
    if (signal.aborted) return
    watcher.failures = read.outcome === 'found' ? 0 : watcher.failures + 1
    const intervalMs = this.#pollInterval(watcher)
    const backoff = { firstMs: intervalMs, maxMs: Math.max(intervalMs, maxBackoffMs) }
    this.#schedule.reschedule(watcher, watcher.failures === 0 ? intervalMs : backoffDelay(watcher.failures, backoff))
    watcher.mailbox.put(read)
  }

  /** Sweeps once the interval since the last sweep has passed. */
  #scheduleSweep (): void {
    if (this.#isSweeping) return
    this.#isSweeping = true
    setTimeout(() => {
      this.#sweep()
        .catch((err: unknown) => this.#options.log.debug({ err }, 'A sweep could not be made; making it again'))
        .finally(() => {
          this.#isSweeping = false
          this.#schedule.run()
        })
    }, Math.max(0, this.#nextSweepAt - performance.now())).unref()
  }

  /** Covers all predictions in flight, due or not, on all instances: one instance sweeps in each interval. */
  async #sweep (): Promise<void> {
    const { taskStore, pollIntervalMs } = this.#options
    const startedAt = performance.now()
    this.#nextSweepAt = startedAt + pollIntervalMs
    const watchers = this.#schedule.suspend()
    try {
      // Asks for a little less than the interval, so that timers which fire early do not cost the sweeper its next sweep.
      // It is for all tasks, and belongs to the trace of none.
      if (await taskStore.acquireSweep(pollIntervalMs * 0.9)) await inTrace(null, () => this.#sweeper.sweep())
      await this.#schedule.pollAll(watchers.filter(({ createdAt }) => createdAt === null))
    } finally {
      const elapsedMs = performance.now() - startedAt
      for (const watcher of watchers) this.#schedule.reschedule(watcher, Math.max(0, this.#pollInterval(watcher) - elapsedMs))
    }
  }
}
