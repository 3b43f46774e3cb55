import { LRUCache } from 'lru-cache'
import { backoffDelay, maxTimerMs } from '../runtime/backoff.ts'
import { UnclaimedResults } from './unclaimed-results.ts'
import type { Log } from '../runtime/log.ts'
import { sweepPredictions, type PredictionRef } from '../replicate/prediction-sweep.ts'
import { isEnded, type Prediction } from '../replicate/prediction.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { ReadOutcome } from '../replicate/outcomes.ts'
import type { InFlightPrediction, TaskStore } from '../store/task-store.ts'

export interface PredictionWatchOptions {
  replicate: ReplicateClient
  /** Knows what all instances wait for, and which of them sweeps. */
  taskStore: Pick<TaskStore, 'listInFlight' | 'acquireSweep' | 'requestPoll'>
  /** ms from one read of a prediction to its next, longer where the limit on calls does not allow it */
  pollIntervalMs: number
  /** The same for one whose end is reported: the reads are only the net below the reports. */
  fallbackPollMs: number
  /** From so many in flight on, reads of the provider's list take the place of a read for each prediction. */
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
  /** ms since the epoch, by the provider's clock; null where it did not say: such a prediction is always read by itself */
  createdAt: number | null
  /** whether the provider was asked to report its end, to here */
  isReported: boolean
  /** It was waited for before, by a process that may have missed something: it is looked at at once. */
  isResumed: boolean
}

/** `task_changed`: the task itself may have changed. */
export type PredictionUpdate = ReadOutcome | { outcome: 'task_changed' }

interface Watcher extends WatchedPrediction {
  updates: PredictionUpdate[]
  wake: () => void
  timer: NodeJS.Timeout | undefined
  /** reads in a row that failed */
  failures: number
}

const maxConcurrentReads = 16
const maxMissedSweeps = 2
const maxBackoffMs = 30_000
/** A webhook can come before anybody waits for it. */
const unclaimed = { max: 1_000, ttlMs: 60_000 }

/**
 * Learns what becomes of all predictions in flight on this instance and tells whoever waits: by reading each in turn,
 * those that are due longest first; by sweeps over the list where they are many; and from webhooks.
 */
export class PredictionWatch {
  #options
  #watchers = new Map<string, Watcher>()
  #watchersByTask = new Map<string, Watcher>()
  #unclaimedResults = new UnclaimedResults(unclaimed)
  /** Tasks whose prediction is to be read as soon as it is waited for here. */
  #requestedPolls = new LRUCache<string, true>({ max: unclaimed.max, ttl: unclaimed.ttlMs, ttlAutopurge: true })
  /** By prediction: sweeps in a row that could not read its part of the list. */
  #missedSweeps = new Map<string, number>()
  #due: Watcher[] = []
  #urgent = new Set<Watcher>()
  #reading = 0
  #isSweeping = false
  #nextSweepAt = 0

  constructor (options: PredictionWatchOptions) {
    this.#options = options
  }

  /**
   * What is heard of a prediction, in the order in which it comes; ends at `until`.
   * @param until ms since the epoch
   * @throws the signal's reason once it is aborted
   */
  async * watch (watched: WatchedPrediction, until: number, signal: AbortSignal): AsyncGenerator<PredictionUpdate> {
    const watcher: Watcher = { ...watched, updates: [], wake: () => {}, timer: undefined, failures: 0 }
    this.#watchers.set(watched.predictionId, watcher)
    this.#watchersByTask.set(watched.taskId, watcher)
    const known = this.#unclaimedResults.get(watched.predictionId)
    if (known !== undefined) watcher.updates.push({ outcome: 'found', prediction: known })
    const isUrgent = this.#requestedPolls.delete(watched.taskId) || watched.isResumed
    this.#schedule(watcher, isUrgent ? 0 : this.#pollInterval(watched))
    try {
      for (;;) {
        for (let update = watcher.updates.shift(); update !== undefined; update = watcher.updates.shift()) yield update
        if (this.#options.now() >= until) return
        await waitForUpdate(watcher, until - this.#options.now(), signal)
      }
    } finally {
      clearTimeout(watcher.timer)
      this.#watchers.delete(watched.predictionId)
      this.#watchersByTask.delete(watched.taskId)
    }
  }

  /**
   * Hands a prediction that came by another way, a webhook, to whoever waits for it, or will within a minute.
   * @returns false where nobody here waits for it
   */
  publish (prediction: Prediction): boolean {
    const watcher = this.#watchers.get(prediction.id)
    if (watcher !== undefined) putUpdate(watcher, { outcome: 'found', prediction })
    else if (isEnded(prediction)) this.#unclaimedResults.keep(prediction)
    return watcher !== undefined
  }

  /**
   * Makes whoever waits for the task's prediction look at the task again.
   * @returns false where nobody here waits for it
   */
  refreshTask (taskId: string): boolean {
    const watcher = this.#watchersByTask.get(taskId)
    if (watcher !== undefined) putUpdate(watcher, { outcome: 'task_changed' })
    return watcher !== undefined
  }

  /** News may have been missed: everybody looks at their task again. */
  refreshAllTasks (): void {
    for (const watcher of this.#watchers.values()) putUpdate(watcher, { outcome: 'task_changed' })
  }

  /** Reads the task's prediction now, out of its turn, or as soon as it is waited for here within a minute. */
  pollNow (taskId: string): void {
    const watcher = this.#watchersByTask.get(taskId)
    if (watcher === undefined) {
      this.#requestedPolls.set(taskId, true)
    } else if (!this.#urgent.has(watcher)) {
      this.#urgent.add(watcher)
      this.#pollDue()
    }
  }

  #isActive (watcher: Watcher): boolean {
    return this.#watchers.get(watcher.predictionId) === watcher
  }

  #pollInterval ({ isReported }: WatchedPrediction): number {
    return isReported ? this.#options.fallbackPollMs : this.#options.pollIntervalMs
  }

  #schedule (watcher: Watcher, ms: number): void {
    clearTimeout(watcher.timer)
    if (!this.#isActive(watcher)) return
    watcher.timer = setTimeout(() => {
      this.#due.push(watcher)
      this.#pollDue()
    }, ms)
  }

  #pollDue (): void {
    if (this.#shouldSweep) this.#sweepDue()
    while (this.#reading < maxConcurrentReads) {
      const watcher = this.#takeNext()
      if (watcher === undefined) return
      if (!this.#isActive(watcher)) continue
      this.#reading++
      this.#read(watcher).finally(() => {
        this.#reading--
        this.#pollDue()
      })
    }
  }

  get #shouldSweep (): boolean {
    return this.#watchers.size >= this.#options.sweepThreshold
  }

  #takeNext (): Watcher | undefined {
    const [urgent] = this.#urgent
    if (urgent === undefined) return this.#shouldSweep ? undefined : this.#due.shift()
    this.#urgent.delete(urgent)
    return urgent
  }

  /** Never rejects: whatever goes wrong upstream is an outcome. */
  async #read (watcher: Watcher): Promise<void> {
    const { replicate, signal } = this.#options
    const read = await replicate.get(watcher.predictionId, { signal })
    if (signal.aborted) return
    watcher.failures = read.outcome === 'found' ? 0 : watcher.failures + 1
    const intervalMs = this.#pollInterval(watcher)
    const pause = { firstMs: intervalMs, maxMs: Math.max(intervalMs, maxBackoffMs) }
    this.#schedule(watcher, watcher.failures === 0 ? intervalMs : backoffDelay(watcher.failures, pause))
    putUpdate(watcher, read)
  }

  #sweepDue (): void {
    if (this.#isSweeping || this.#due.length === 0) return
    const now = performance.now()
    this.#isSweeping = true
    this.#scheduleSweep(this.#nextSweepAt - now)
  }

  #scheduleSweep (ms: number): void {
    setTimeout(() => {
      this.#nextSweepAt = performance.now() + this.#options.pollIntervalMs
      this.#sweep()
        .catch((err: unknown) => this.#options.log.debug({ err }, 'A sweep could not be made; making it again'))
        .finally(() => {
          this.#isSweeping = false
          this.#pollDue()
        })
    }, Math.max(0, ms)).unref()
  }

  /**
   * Covers everything in flight, whether it is due or not, and on all instances: one of them sweeps in each interval,
   * and prompts the others where a prediction of theirs has ended.
   */
  async #sweep (): Promise<void> {
    const { taskStore, pollIntervalMs } = this.#options
    this.#due = []
    const all = Array.from(this.#watchers.values())
    for (const watcher of all) clearTimeout(watcher.timer)
    try {
      // A little early, so that whoever swept last is not turned away by a hair.
      if (await taskStore.acquireSweep(pollIntervalMs * 0.9)) await this.#sweepForAll()
      await this.#readAll(all.filter(({ createdAt }) => createdAt === null))
    } finally {
      const sinceMs = performance.now() - (this.#nextSweepAt - pollIntervalMs)
      for (const watcher of all) this.#schedule(watcher, Math.max(0, this.#pollInterval(watcher) - sinceMs))
    }
  }

  async #sweepForAll (): Promise<void> {
    const { taskStore, replicate, signal } = this.#options
    const inFlight = await taskStore.listInFlight()
    const sweep = await sweepPredictions(inFlight.flatMap(toPredictionRef), replicate, signal)
    if (signal.aborted) return
    for (const prediction of sweep.seen.filter((seen) => !lacksOutput(seen))) {
      const watcher = this.#watchers.get(prediction.id)
      if (watcher !== undefined) putUpdate(watcher, { outcome: 'found', prediction })
    }
    const ended = new Set(sweep.seen.filter(isEnded).map(({ id }) => id))
    const toRead = new Set([
      ...sweep.seen.filter(lacksOutput).map(({ id }) => id),
      ...sweep.absent.map(({ predictionId }) => predictionId),
      ...this.#countMissed(sweep.unread)
    ])
    const others = inFlight.filter(({ predictionId: id }) => (ended.has(id) || toRead.has(id)) && !this.#watchers.has(id))
    if (others.length > 0) await taskStore.requestPoll(others.map(({ taskId }) => taskId))
    await this.#readAll(Array.from(this.#watchers.values()).filter(({ predictionId }) => toRead.has(predictionId)))
  }

  /** A list that is broken, or a part of it, holds up nothing that can be read by itself. */
  #countMissed (unread: PredictionRef[]): string[] {
    this.#missedSweeps = new Map(unread.map(({ predictionId: id }) => [id, (this.#missedSweeps.get(id) ?? 0) + 1]))
    return Array.from(this.#missedSweeps).filter(([, count]) => count >= maxMissedSweeps).map(([id]) => id)
  }

  /** A few at a time, so that others who need a call do not wait behind all of them. */
  async #readAll (left: Watcher[]): Promise<void> {
    await Promise.all(Array.from({ length: maxConcurrentReads }, async () => {
      for (let watcher = left.shift(); watcher !== undefined; watcher = left.shift()) {
        if (this.#isActive(watcher)) await this.#read(watcher)
      }
    }))
  }
}

/** Whether the items of a list always carry the output is not documented: the prediction itself does. */
function lacksOutput ({ status, output }: Prediction): boolean {
  return status === 'succeeded' && output === null
}

function toPredictionRef ({ predictionId, predictionCreatedAt }: InFlightPrediction): PredictionRef[] {
  return predictionCreatedAt === null ? [] : [{ predictionId, createdAt: predictionCreatedAt }]
}

/** What nobody has taken yet is replaced by what is newer, so that nothing piles up; an end is kept. */
function putUpdate (watcher: Watcher, update: PredictionUpdate): void {
  const place = watcher.updates.findIndex((other) => isTaskChange(other) === isTaskChange(update))
  const replaced = watcher.updates[place]
  if (replaced === undefined) watcher.updates.push(update)
  else if (!isFinal(replaced)) watcher.updates[place] = update
  watcher.wake()
}

function isTaskChange ({ outcome }: PredictionUpdate): boolean {
  return outcome === 'task_changed'
}

function isFinal (update: PredictionUpdate): boolean {
  return update.outcome === 'found' && isEnded(update.prediction)
}

/** Resolves when there is news or the time is over. */
function waitForUpdate (watcher: Watcher, ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(resolve), Math.min(ms, maxTimerMs))
    const settle = (tellCaller: () => void): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      watcher.wake = () => {}
      tellCaller()
    }
    const onAbort = (): void => settle(() => reject(signal.reason))
    signal.addEventListener('abort', onAbort)
    watcher.wake = () => settle(resolve)
  })
}
