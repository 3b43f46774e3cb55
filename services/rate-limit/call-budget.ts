/** What calls of one kind may still use of the provider's limit. */
export interface CallBudget {
  /**
   * Takes up to `most` calls, at least one unless it is paused.
   * @returns how many were taken, and the ms after which the first of them may leave and between one and the next;
   * with none taken, the ms until it is worth asking again
   */
  take (most: number): Promise<Allotment>
  /** Nobody takes any for so long. */
  pause (ms: number): Promise<void>
}

export interface Allotment { taken: number, waitMs: number, stepMs: number }

export interface BudgetOptions {
  perMinute: number
  /** ms since whenever, on a clock that never goes back */
  now: () => number
}

const minuteMs = 60_000
/** What has been left unused for so long may leave at once. */
export const burstMs = 5_000

/** ms from one call to the next, if calls leave evenly */
export function stepOf (perMinute: number): number {
  return minuteMs / perMinute
}

/** The budget of an instance that has the provider for itself, by the generic cell rate algorithm. */
export class LocalCallBudget implements CallBudget {
  #stepMs
  #now
  /** When the next call would leave if calls left evenly. */
  #evenAt = -Infinity
  #pausedUntil = -Infinity

  constructor ({ perMinute, now }: BudgetOptions) {
    this.#stepMs = stepOf(perMinute)
    this.#now = now
  }

  async take (most: number): Promise<Allotment> {
    const now = this.#now()
    if (this.#pausedUntil > now) return { taken: 0, waitMs: this.#pausedUntil - now, stepMs: this.#stepMs }
    const first = Math.max(this.#evenAt, now - burstMs)
    this.#evenAt = first + most * this.#stepMs
    return { taken: most, waitMs: first - now, stepMs: this.#stepMs }
  }

  async pause (ms: number): Promise<void> {
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#now() + ms)
  }
}
