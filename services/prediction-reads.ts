import { backoffDelay, wait } from './backoff.ts'
import type { ReadOutcome, ReplicateClient } from './replicate-client.ts'

export interface PredictionReadsOptions {
  replicate: ReplicateClient
  /** ms from one read of a prediction to its next */
  pollIntervalMs: number
  now: () => number
}

/** All predictions together; Replicate allows 3,000 calls a minute of everything that is not a create. */
const readsPerMinute = 2_400
const longestPauseMs = 30_000

/** Paces the reads of all predictions in flight, so that together they stay below the provider's limit. */
export class PredictionReads {
  #options
  #followed = 0

  constructor (options: PredictionReadsOptions) {
    this.#options = options
  }

  /** ms from one read of a prediction to its next: stretched where many are in flight. */
  get interval (): number {
    return Math.max(this.#options.pollIntervalMs, this.#followed * 60_000 / readsPerMinute)
  }

  /**
   * What the provider says of a prediction, read after read; never ends by itself.
   * @param until ms since the epoch: a pause ends there at the latest, so that the last read comes in time
   * @throws the signal's reason once it is aborted
   */
  async * follow (predictionId: string, until: number, signal: AbortSignal): AsyncGenerator<ReadOutcome> {
    const { replicate, now } = this.#options
    this.#followed++
    try {
      for (let failures = 0, pause = this.interval; ; pause = this.interval) {
        if (failures > 0) pause = backoffDelay(failures, { first: pause, longest: Math.max(pause, longestPauseMs) })
        await wait(Math.min(pause, until - now()), signal)
        const read = await replicate.get(predictionId, { signal })
        signal.throwIfAborted()
        yield read
        failures = read.outcome === 'found' ? 0 : failures + 1
        if (read.outcome === 'unavailable') await wait(Math.min(read.failure.retryAfterMs ?? 0, until - now()), signal)
      }
    } finally {
      this.#followed--
    }
  }
}
