/** Ten years: the result stays a valid date. */
export const maxSkewMs = 315_360_000_000

/**
 * The clock of the emulator as its clients see it: the true time plus a skew that may step at any time. Times from before a step
 * stay as they were, and timers do not depend on it.
 */
export class SkewedClock {
  readonly #now: () => number
  readonly #steps: Array<{ since: number, skewMs: number }>

  /**
   * @param now     the true time, in milliseconds
   * @param skewMs  how far the shown clock is ahead of it; negative where it is behind
   */
  constructor (now: () => number, skewMs = 0) {
    this.#now = now
    this.#steps = [{ since: -Infinity, skewMs }]
  }

  get skewMs (): number {
    return this.#steps.at(-1)?.skewMs ?? 0
  }

  /** Steps now. */
  set skewMs (skewMs: number) {
    this.#steps.push({ since: this.#now(), skewMs })
  }

  /** What the clock read at a true time, or will read then if it does not step again. */
  read (at = this.#now()): number {
    return at + (this.#steps.findLast(({ since }) => since <= at)?.skewMs ?? 0)
  }
}
