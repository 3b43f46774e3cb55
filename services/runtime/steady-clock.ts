/** How fast the clock may be corrected: a second in a minute. */
const maxSlewRate = 1 / 60

/**
 * A clock for deadlines and ages. It starts with what its reference shows and runs with the monotonic clock of this
 * process, so a step of the reference neither ends tasks nor keeps them alive: it is followed slowly. Never goes back.
 */
export class SteadyClock {
  readonly #reference
  readonly #monotonic
  #time
  #readAt

  /**
   * @param reference what is followed, ms since the epoch
   * @param monotonic ms that only ever grow
   */
  constructor (reference: () => number, monotonic: () => number = () => performance.now()) {
    this.#reference = reference
    this.#monotonic = monotonic
    this.#time = reference()
    this.#readAt = monotonic()
  }

  /** ms since the epoch, a whole number */
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
