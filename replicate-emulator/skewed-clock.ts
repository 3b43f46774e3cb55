/** Ten years: what is shown stays a date that can be written. */
export const LONGEST_SKEW_MS = 315_360_000_000

/**
 * The clock that the emulator shows to its clients: the true one plus a skew that may step at any moment. What was
 * stamped before a step keeps its stamp, and no timer knows of it.
 */
export class ShownClock {
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

  /** What the clock showed at a true time, or will show then if it does not step again. */
  shown (at = this.#now()): number {
    return at + (this.#steps.findLast(({ since }) => since <= at)?.skewMs ?? 0)
  }
}
