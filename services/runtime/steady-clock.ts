/** The clock is corrected by one second in a minute at most. */
const maxSlewRate = 1 / 60

/**
 * A clock for deadlines and ages. It starts at the time of its reference and advances with the monotonic clock of this process. It
 * follows a step of the reference slowly (it slews), so that a step neither ends tasks nor keeps them alive. It never goes back.
 */
export class SteadyClock {
  readonly #reference
  readonly #monotonic
  #time
  #readAt

  /**
   * @param reference the clock that is followed, in ms since the epoch
   * @param monotonic a clock that never goes back, in ms
   */
  constructor (reference: () => number, monotonic: () => number = () => performance.now()) {
    this.#reference = reference
    this.#monotonic = monotonic
    this.#time = reference()
    this.#readAt = monotonic()
  }

  /** @returns whole ms since the epoch */
  readonly now = (): number => {
    const at = this.#monotonic()
    const elapsedMs = at - this.#readAt
    this.#readAt = at
    this.#time += elapsedMs
    const limitMs = elapsedMs * maxSlewRate
    this.#time += Math.max(-limitMs, Math.min(limitMs, this.#reference() - this.#time))
    return Math.round(this.#time)
  }
}
