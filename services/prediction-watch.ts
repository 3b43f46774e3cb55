import { LRUCache } from 'lru-cache'
import { backoffDelay } from './backoff.ts'
import { sweepPredictions, type Sought } from './prediction-sweep.ts'
import { isEnded, type Prediction } from './prediction.ts'
import type { ReadOutcome, ReplicateClient } from './replicate-client.ts'

export interface PredictionWatchOptions {
  replicate: ReplicateClient
  /** ms from one read of a prediction to its next, longer where the limit on calls does not allow it */
  pollIntervalMs: number
  /** From so many in flight on, reads of the provider's list take the place of a read for each prediction. */
  sweepFrom: number
  /** ms since the epoch */
  now: () => number
  /** aborted when the instance stops */
  signal: AbortSignal
}

export interface Awaited {
  predictionId: string
  /** ms since the epoch, by the provider's clock; null where it did not say: such a prediction is always read by itself */
  createdAt: number | null
}

/** `look again`: the task itself may have changed. */
export type PredictionNews = ReadOutcome | 'look again'

interface Followed extends Awaited {
  news: PredictionNews[]
  wake: () => void
  timer: NodeJS.Timeout | undefined
  /** reads in a row that failed */
  failures: number
  /** sweeps in a row that did not find it */
  absences: number
}

const readsAtOnce = 16
const longestPauseMs = 30_000
/** A webhook can come before anybody waits for it. */
const early = { max: 1_000, ttl: 60_000 }

/**
 * Learns what becomes of all predictions in flight on this instance and tells whoever waits: by reading each in turn,
 * those that are due longest first; by sweeps over the list where they are many; and from webhooks.
 */
export class PredictionWatch {
  #options
  #followed = new Map<string, Followed>()
  #early = new LRUCache<string, Prediction>(early)
  #due: Followed[] = []
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
    const followed: Followed = { ...awaited, news: [], wake: () => {}, timer: undefined, failures: 0, absences: 0 }
    this.#followed.set(awaited.predictionId, followed)
    const known = this.#early.get(awaited.predictionId)
    if (known !== undefined) followed.news.push({ outcome: 'found', prediction: known })
    this.#readLater(followed, this.#options.pollIntervalMs)
    try {
      for (;;) {
        for (let news = followed.news.shift(); news !== undefined; news = followed.news.shift()) yield news
        if (this.#options.now() >= until) return
        await newsOf(followed, until - this.#options.now(), signal)
      }
    } finally {
      clearTimeout(followed.timer)
      this.#followed.delete(awaited.predictionId)
    }
  }

  /** Hands a prediction that came by another way, a webhook, to whoever waits for it, or will within a minute. */
  offer (prediction: Prediction): void {
    const followed = this.#followed.get(prediction.id)
    if (followed !== undefined) tell(followed, { outcome: 'found', prediction })
    else if (isEnded(prediction)) this.#early.set(prediction.id, prediction)
  }

  /**
   * Makes whoever waits for the prediction look at its task again.
   * @returns false where nobody here waits for it
   */
  recheck (predictionId: string): boolean {
    const followed = this.#followed.get(predictionId)
    if (followed === undefined) return false
    tell(followed, 'look again')
    return true
  }

  #isFollowed (followed: Followed): boolean {
    return this.#followed.get(followed.predictionId) === followed
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
    if (this.#followed.size >= this.#options.sweepFrom) return this.#sweepDue()
    while (this.#reading < readsAtOnce) {
      const followed = this.#due.shift()
      if (followed === undefined) return
      if (!this.#isFollowed(followed)) continue
      this.#reading++
      this.#read(followed).finally(() => {
        this.#reading--
        this.#readDue()
      })
    }
  }

  /** Never rejects: whatever goes wrong upstream is an outcome. */
  async #read (followed: Followed): Promise<void> {
    const { replicate, pollIntervalMs, signal } = this.#options
    const read = await replicate.get(followed.predictionId, { signal })
    if (signal.aborted) return
    followed.failures = read.outcome === 'found' ? 0 : followed.failures + 1
    const pause = { first: pollIntervalMs, longest: Math.max(pollIntervalMs, longestPauseMs) }
    this.#readLater(followed, followed.failures === 0 ? pollIntervalMs : backoffDelay(followed.failures, pause))
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
      this.#sweep().finally(() => {
        this.#isSweeping = false
        this.#readDue()
      })
    }, Math.max(0, ms)).unref()
  }

  /** Covers everything in flight, whether it is due or not. */
  async #sweep (): Promise<void> {
    const { replicate, signal } = this.#options
    this.#due = []
    const all = Array.from(this.#followed.values())
    for (const followed of all) clearTimeout(followed.timer)
    const sweep = await sweepPredictions(all.filter(hasCreationTime), replicate, signal)
    if (signal.aborted) return
    const doubtful = new Set(sweep.seen.filter(lacksOutput).map(({ id }) => id))
    for (const prediction of sweep.seen) this.#learnSwept(prediction, doubtful)
    for (const { predictionId } of sweep.absent) this.#countAbsence(predictionId)
    const alone = all.filter((followed) => followed.createdAt === null || followed.absences > 1 || doubtful.has(followed.predictionId))
    for (const followed of all) this.#readLater(followed, Math.max(0, this.#nextSweepAt - performance.now()))
    await this.#readAll(alone)
  }

  /** A few at a time, so that others who need a call do not wait behind all of them. */
  async #readAll (left: Followed[]): Promise<void> {
    await Promise.all(Array.from({ length: readsAtOnce }, async () => {
      for (let followed = left.shift(); followed !== undefined; followed = left.shift()) {
        if (this.#isFollowed(followed)) await this.#read(followed)
      }
    }))
  }

  #learnSwept (prediction: Prediction, doubtful: Set<string>): void {
    const followed = this.#followed.get(prediction.id)
    if (followed === undefined) return
    followed.absences = 0
    if (!doubtful.has(prediction.id)) tell(followed, { outcome: 'found', prediction })
  }

  #countAbsence (predictionId: string): void {
    const followed = this.#followed.get(predictionId)
    if (followed !== undefined) followed.absences++
  }
}

/** Whether the items of a list always carry the output is not documented: the prediction itself does. */
function lacksOutput ({ status, output }: Prediction): boolean {
  return status === 'succeeded' && output === null
}

function hasCreationTime (followed: Followed): followed is Followed & Sought {
  return followed.createdAt !== null
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
    const timer = setTimeout(() => settle(resolve), ms)
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
