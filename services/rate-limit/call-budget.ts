/** The part of the provider's rate limit that calls of one kind may still use. */
export interface CallBudget {
  /**
   * Reserves up to `maxCalls` calls, at least one unless the budget is paused.
   * @returns the number of calls, and when they may be sent: the first after `waitMs`, each of the others one emission
   * interval later. With no calls, `waitMs` is the time after which to ask again.
   */
  reserve (maxCalls: number): Promise<Reservation>
  /** No call is reserved for this time, by any instance that shares the budget. */
  pause (ms: number): Promise<void>
}

export interface Reservation { calls: number, waitMs: number, emissionIntervalMs: number }

export interface LocalCallBudgetOptions {
  perMinute: number
  /** ms of a monotonic clock */
  now: () => number
}

const minuteMs = 60_000
/** Calls that were not used within this time may be sent at once. */
export const burstMs = 5_000

/** ms from one call to the next if calls are sent evenly */
export function emissionIntervalMs (perMinute: number): number {
  return minuteMs / perMinute
}

/** The budget of an instance that shares the rate limit with no other, by the generic cell rate algorithm (GCRA). */
export class LocalCallBudget implements CallBudget {
  #emissionIntervalMs
  #now
  /** The theoretical arrival time: when the next call would be sent if calls were sent evenly. */
  #tat = -Infinity
  #pausedUntil = -Infinity

  constructor ({ perMinute, now }: LocalCallBudgetOptions) {
    this.#emissionIntervalMs = emissionIntervalMs(perMinute)
    this.#now = now
  }

  async reserve (maxCalls: number): Promise<Reservation> {
    const now = this.#now()
    if (this.#pausedUntil > now) return { calls: 0, waitMs: this.#pausedUntil - now, emissionIntervalMs: this.#emissionIntervalMs }
    const first = Math.max(this.#tat, now - burstMs)
    this.#tat = first + maxCalls * this.#emissionIntervalMs
    return { calls: maxCalls, waitMs: first - now, emissionIntervalMs: this.#emissionIntervalMs }
  }

  async pause (ms: number): Promise<void> {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#now() + ms)
  }
}
