import { LRUCache } from 'lru-cache'
import { backoffDelay, maxTimerMs } from '../runtime/backoff.ts'
import { EarlyPredictions } from './early-predictions.ts'
import type { Log } from '../runtime/log.ts'
import { sweepPredictions, type Sought } from '../replicate/prediction-sweep.ts'
import { isEnded, type Prediction } from '../replicate/prediction.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { ReadOutcome } from '../replicate/outcomes.ts'
import type { InFlight, TaskStore } from '../store/task-store.ts'

export interface PredictionWatchOptions {
  replicate: ReplicateClient
  /** Knows what all instances wait for, and which of them sweeps. */
  taskStore: Pick<TaskStore, 'inFlight' | 'takeSweep' | 'prompt'>
  /** ms from one read of a prediction to its next, longer where the limit on calls does not allow it */
  pollIntervalMs: number
  /** The same for one whose end is reported: the reads are only the net below the reports. */
  netIntervalMs: number
  /** From so many in flight on, reads of the provider's list take the place of a read for each prediction. */
  sweepThreshold: number
  /** ms since the epoch */
  now: () => number
  log: Log
  /** aborted when the instance stops */
  signal: AbortSignal
}

export interface Awaited {
  taskId: string
  predictionId: string
  /** ms since the epoch, by the provider's clock; null where it did not say: such a prediction is always read by itself */
  createdAt: number | null
  /** whether the provider was asked to report its end, to here */
  isReported: boolean
  /** It was waited for before, by a process that may have missed something: it is looked at at once. */
  isResumed: boolean
}

/** `look again`: the task itself may have changed. */
export type PredictionNews = ReadOutcome | 'look again'

interface Followed extends Awaited {
  news: PredictionNews[]
  wake: () => void
  timer: NodeJS.Timeout | undefined
  /** reads in a row that failed */
  failures: number
}

const readsAtOnce = 16
const maxMissedSweeps = 2
const longestPauseMs = 30_000
/** A webhook can come before anybody waits for it. */
const early = { most: 1_000, forMs: 60_000 }

/**
 * Learns what becomes of all predictions in flight on this instance and tells whoever waits: by reading each in turn,
 * those that are due longest first; by sweeps over the list where they are many; and from webhooks.
 */
export class PredictionWatch {
  #options
  #followed = new Map<string, Followed>()
  #followedTasks = new Map<string, Followed>()
  #early = new EarlyPredictions(early)
  /** Tasks whose prediction is to be read as soon as it is waited for here. */
  #promptedEarly = new LRUCache<string, true>({ max: early.most, ttl: early.forMs, ttlAutopurge: true })
  /** By prediction: sweeps in a row that could not read its part of the list. */
  #missedSweeps = new Map<string, number>()
  #due: Followed[] = []
  #urgent = new Set<Followed>()
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
  async * follow (awaited: Awaited, until: number, signal: AbortSignal): AsyncGenerator<PredictionNews> {
    const followed: Followed = { ...awaited, news: [], wake: () => {}, timer: undefined, failures: 0 }
    this.#followed.set(awaited.predictionId, followed)
    this.#followedTasks.set(awaited.taskId, followed)
    const known = this.#early.get(awaited.predictionId)
    if (known !== undefined) followed.news.push({ outcome: 'found', prediction: known })
    const isUrgent = this.#promptedEarly.delete(awaited.taskId) || awaited.isResumed
    this.#readLater(followed, isUrgent ? 0 : this.#intervalOf(awaited))
    try {
      for (;;) {
        for (let news = followed.news.shift(); news !== undefined; news = followed.news.shift()) yield news
        if (this.#options.now() >= until) return
        await newsOf(followed, until - this.#options.now(), signal)
      }
    } finally {
      clearTimeout(followed.timer)
      this.#followed.delete(awaited.predictionId)
      this.#followedTasks.delete(awaited.taskId)
    }
  }

  /**
   * Hands a prediction that came by another way, a webhook, to whoever waits for it, or will within a minute.
   * @returns false where nobody here waits for it
   */
  offer (prediction: Prediction): boolean {
    const followed = this.#followed.get(prediction.id)
    if (followed !== undefined) tell(followed, { outcome: 'found', prediction })
    else if (isEnded(prediction)) this.#early.keep(prediction)
    return followed !== undefined
  }

  /**
   * Makes whoever waits for the task's prediction look at the task again.
   * @returns false where nobody here waits for it
   */
  recheck (taskId: string): boolean {
    const followed = this.#followedTasks.get(taskId)
    if (followed !== undefined) tell(followed, 'look again')
    return followed !== undefined
  }

  /** News may have been missed: everybody looks at their task again. */
  recheckAll (): void {
    for (const followed of this.#followed.values()) tell(followed, 'look again')
  }

  /** Reads the task's prediction now, out of its turn, or as soon as it is waited for here within a minute. */
  readNow (taskId: string): void {
    const followed = this.#followedTasks.get(taskId)
    if (followed === undefined) {
      this.#promptedEarly.set(taskId, true)
    } else if (!this.#urgent.has(followed)) {
      this.#urgent.add(followed)
      this.#readDue()
    }
  }

  #isFollowed (followed: Followed): boolean {
    return this.#followed.get(followed.predictionId) === followed
  }

  #intervalOf ({ isReported }: Awaited): number {
    return isReported ? this.#options.netIntervalMs : this.#options.pollIntervalMs
  }

  #readLater (followed: Followed, ms: number): void {
    clearTimeout(followed.timer)
    if (!this.#isFollowed(followed)) return
    followed.timer = setTimeout(() => {
      this.#due.push(followed)
      this.#readDue()
    }, ms)
  }

  #readDue (): void {
    if (this.#isMany) this.#sweepDue()
    while (this.#reading < readsAtOnce) {
      const followed = this.#nextDue()
      if (followed === undefined) return
      if (!this.#isFollowed(followed)) continue
      this.#reading++
      this.#read(followed).finally(() => {
        this.#reading--
        this.#readDue()
      })
    }
  }

  get #isMany (): boolean {
    return this.#followed.size >= this.#options.sweepThreshold
  }

  #nextDue (): Followed | undefined {
    const [urgent] = this.#urgent
    if (urgent === undefined) return this.#isMany ? undefined : this.#due.shift()
    this.#urgent.delete(urgent)
    return urgent
  }

  /** Never rejects: whatever goes wrong upstream is an outcome. */
  async #read (followed: Followed): Promise<void> {
    const { replicate, signal } = this.#options
    const read = await replicate.get(followed.predictionId, { signal })
    if (signal.aborted) return
    followed.failures = read.outcome === 'found' ? 0 : followed.failures + 1
    const intervalMs = this.#intervalOf(followed)
    const pause = { firstMs: intervalMs, maxMs: Math.max(intervalMs, longestPauseMs) }
    this.#readLater(followed, followed.failures === 0 ? intervalMs : backoffDelay(followed.failures, pause))
    tell(followed, read)
  }

  #sweepDue (): void {
    if (this.#isSweeping || this.#due.length === 0) return
    const now = performance.now()
    this.#isSweeping = true
    this.#sweepAfter(this.#nextSweepAt - now)
  }

  #sweepAfter (ms: number): void {
    setTimeout(() => {
      this.#nextSweepAt = performance.now() + this.#options.pollIntervalMs
      this.#sweep()
        .catch((err: unknown) => this.#options.log.debug({ err }, 'A sweep could not be made; making it again'))
        .finally(() => {
          this.#isSweeping = false
          this.#readDue()
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
    const all = Array.from(this.#followed.values())
    for (const followed of all) clearTimeout(followed.timer)
    try {
      // A little early, so that whoever swept last is not turned away by a hair.
      if (await taskStore.takeSweep(pollIntervalMs * 0.9)) await this.#sweepForAll()
      await this.#readAll(all.filter(({ createdAt }) => createdAt === null))
    } finally {
      const sinceMs = performance.now() - (this.#nextSweepAt - pollIntervalMs)
      for (const followed of all) this.#readLater(followed, Math.max(0, this.#intervalOf(followed) - sinceMs))
    }
  }

  async #sweepForAll (): Promise<void> {
    const { taskStore, replicate, signal } = this.#options
    const inFlight = await taskStore.inFlight()
    const sweep = await sweepPredictions(inFlight.flatMap(soughtOf), replicate, signal)
    if (signal.aborted) return
    for (const prediction of sweep.seen.filter((seen) => !lacksOutput(seen))) {
      const followed = this.#followed.get(prediction.id)
      if (followed !== undefined) tell(followed, { outcome: 'found', prediction })
    }
    const ended = new Set(sweep.seen.filter(isEnded).map(({ id }) => id))
    const toRead = new Set([
      ...sweep.seen.filter(lacksOutput).map(({ id }) => id),
      ...sweep.absent.map(({ predictionId }) => predictionId),
      ...this.#missedTooOften(sweep.unread)
    ])
    const others = inFlight.filter(({ predictionId: id }) => (ended.has(id) || toRead.has(id)) && !this.#followed.has(id))
    if (others.length > 0) await taskStore.prompt(others.map(({ taskId }) => taskId))
    await this.#readAll(Array.from(this.#followed.values()).filter(({ predictionId }) => toRead.has(predictionId)))
  }

  /** A list that is broken, or a part of it, holds up nothing that can be read by itself. */
  #missedTooOften (unread: Sought[]): string[] {
    this.#missedSweeps = new Map(unread.map(({ predictionId: id }) => [id, (this.#missedSweeps.get(id) ?? 0) + 1]))
    return Array.from(this.#missedSweeps).filter(([, count]) => count >= maxMissedSweeps).map(([id]) => id)
  }

  /** A few at a time, so that others who need a call do not wait behind all of them. */
  async #readAll (left: Followed[]): Promise<void> {
    await Promise.all(Array.from({ length: readsAtOnce }, async () => {
      for (let followed = left.shift(); followed !== undefined; followed = left.shift()) {
        if (this.#isFollowed(followed)) await this.#read(followed)
      }
    }))
  }
}

/** Whether the items of a list always carry the output is not documented: the prediction itself does. */
function lacksOutput ({ status, output }: Prediction): boolean {
  return status === 'succeeded' && output === null
}

function soughtOf ({ predictionId, predictionCreatedAt }: InFlight): Sought[] {
  return predictionCreatedAt === null ? [] : [{ predictionId, createdAt: predictionCreatedAt }]
}

/** What nobody has taken yet is replaced by what is newer, so that nothing piles up; an end is kept. */
function tell (followed: Followed, news: PredictionNews): void {
  const place = followed.news.findIndex((other) => (other === 'look again') === (news === 'look again'))
  const replaced = followed.news[place]
  if (replaced === undefined) followed.news.push(news)
  else if (!tellsEnd(replaced)) followed.news[place] = news
  followed.wake()
}

function tellsEnd (news: PredictionNews): boolean {
  return news !== 'look again' && news.outcome === 'found' && isEnded(news.prediction)
}

/** Resolves when there is news or the time is over. */
function newsOf (followed: Followed, ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => settle(resolve), Math.min(ms, maxTimerMs))
    const settle = (tellCaller: () => void): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      followed.wake = () => {}
      tellCaller()
    }
    const onAbort = (): void => settle(() => reject(signal.reason))
    signal.addEventListener('abort', onAbort)
    followed.wake = () => settle(resolve)
  })
}
