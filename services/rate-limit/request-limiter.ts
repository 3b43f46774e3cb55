import { RateLimiterMemory } from 'rate-limiter-flexible'
import type { Log } from '../runtime/log.ts'
import { RepeatedFailure } from '../runtime/repeated-failure.ts'
import type { WindowCount, WindowCounter } from './window-counter.ts'

export interface RequestLimiterOptions {
  /** of all instances; undefined if this is the only instance */
  counter: WindowCounter | undefined
  log: Log
}

/** The length of all windows. */
export const windowSeconds = 60
const windowMs = windowSeconds * 1_000
/** The part of a limit after which an instance asks for the count of all. Each further instance may allow this part too many. */
const batchShare = 0.01

/**
 * Counts requests in windows of a minute. Several instances count together, but not with one query for each request: an instance reports
 * its requests in batches, and none of a key that it knows to be above its limit. While the shared count is unavailable, each instance
 * counts alone.
 */
export class RequestLimiter {
  /** The best knowledge of the count of each key: what all instances have reported, and what has arrived here since. */
  #local = createMemoryCounter()
  /** How much of that was not counted here, but corrected after an answer. */
  #corrections = createMemoryCounter()
  #counter
  #failure

  constructor ({ counter, log }: RequestLimiterOptions) {
    this.#counter = counter
    this.#failure = new RepeatedFailure(log, {
      failed: 'Requests cannot be counted together with the other instances; until they can, each instance applies the limits alone',
      succeeded: 'Requests are counted together with the other instances again'
    })
  }

  /**
   * Counts one request.
   * @param limit the maximum number of requests of this key in a window: the request is one too many if the count is above it
   */
  async count (key: string, limit: number): Promise<WindowCount> {
    const local = toWindowCount(await this.#local.consume(key))
    const batch = Math.max(Math.floor(limit * batchShare), 1)
    if (this.#counter === undefined || local.points > limit || local.points % batch !== 0) return local
    const correction = await this.#correctionOf(key)
    // The limit is a part of the key, so that a limit that is changed begins a window whose count is a multiple of the new batch.
    const shared = await this.#report(this.#counter, `${key} ${limit}`, batch)
    if (shared === undefined) return local
    await this.#correct(key, { asked: local.points, correction }, shared)
    return shared
  }

  /** @returns undefined while the shared count is unavailable: what is known here has to do */
  async #report (counter: WindowCounter, key: string, points: number): Promise<WindowCount | undefined> {
    try {
      const count = await counter.add(key, points, windowMs)
      this.#failure.succeeded()
      return count
    } catch (err) {
      this.#failure.failed(err)
      return undefined
    }
  }

  /**
   * Replaces what this instance knew when it asked. The requests that have arrived here meanwhile are added, but not what the answers to
   * other requests have corrected meanwhile.
   */
  async #correct (key: string, before: { asked: number, correction: number }, shared: WindowCount): Promise<void> {
    const [current, correction] = [(await this.#local.get(key))?.consumedPoints ?? 0, await this.#correctionOf(key)]
    const unreported = Math.max(current - before.asked - (correction - before.correction), 0)
    const points = shared.points + unreported
    const seconds = Math.max(shared.resetMs, 1) / 1_000
    await Promise.all([this.#local.set(key, points, seconds), this.#corrections.set(key, correction + points - current, seconds)])
  }

  async #correctionOf (key: string): Promise<number> {
    return (await this.#corrections.get(key))?.consumedPoints ?? 0
  }
}

/** It only counts: each key has a limit of its own, which is compared with the count. */
function createMemoryCounter (): RateLimiterMemory {
  return new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: windowSeconds })
}

/** The time is limited, because the library takes it from a clock that may be set back. 0 would mean that the window never ends. */
function toWindowCount ({ consumedPoints, msBeforeNext }: { consumedPoints: number, msBeforeNext: number }): WindowCount {
  return { points: consumedPoints, resetMs: Math.min(Math.max(msBeforeNext, 1), windowMs) }
}
