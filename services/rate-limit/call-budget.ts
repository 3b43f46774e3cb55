/** What calls of one kind may still use of the provider's limit. */
export interface CallBudget {
  /**
   * Takes up to `most` calls, at least one unless it is paused.
   * @returns how many were taken, and the ms after which the first of them may leave and between one and the next;
   * with none taken, the ms until it is worth asking again
   */
  reserve (most: number): Promise<Reservation>
  /** Nobody takes any for so long. */
  pause (ms: number): Promise<void>
}

export interface Reservation { calls: number, waitMs: number, emissionIntervalMs: number }

export interface LocalCallBudgetOptions {
  perMinute: number
  /** ms since whenever, on a clock that never goes back */
  now: () => number
}

const minuteMs = 60_000
/** What has been left unused for so long may leave at once. */
export const burstMs = 5_000

/** ms from one call to the next, if calls leave evenly */
export function emissionIntervalMs (perMinute: number): number {
  return minuteMs / perMinute
}

/** The budget of an instance that has the provider for itself, by the generic cell rate algorithm. */
export class LocalCallBudget implements CallBudget {
  #emissionIntervalMs
  #now
  /** When the next call would leave if calls left evenly. */
  #tat = -Infinity
  #pausedUntil = -Infinity

  constructor ({ perMinute, now }: LocalCallBudgetOptions) {
    this.#emissionIntervalMs = emissionIntervalMs(perMinute)
    this.#now = now
  }

  async reserve (most: number): Promise<Reservation> {
    const now = this.#now()
    if (this.#pausedUntil > now) return { calls: 0, waitMs: this.#pausedUntil - now, emissionIntervalMs: this.#emissionIntervalMs }
    const first = Math.max(this.#tat, now - burstMs)
    this.#tat = first + most * this.#emissionIntervalMs
    return { calls: most, waitMs: first - now, emissionIntervalMs: this.#emissionIntervalMs }
  }

  async pause (ms: number): Promise<void> {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#now() + ms)
  }
}
