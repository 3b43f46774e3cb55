import type { Log } from '../runtime/log.ts'

export interface ProviderClockOptions {
  /** our own clock, ms since the epoch; a large skew to it is logged */
  now: () => number
  log: Log
}

/** When a request left and its answer came, by `performance.now()`. */
export interface ExchangeTimes { sentAt: number, receivedAt: number }

/** The resolution of the header `Date`. */
const secondMs = 1_000
/** A larger skew makes times hard to compare for an operator. */
const largeSkewMs = 30_000

/**
 * The provider's clock, learned from the `Date` header of its answers. Creation times of predictions are by that clock, so
 * times that are compared with them have to be, too. It runs on the monotonic clock of this process, so a step of our own clock
 * changes nothing. A step of the provider's clock is noticed with the next answer.
 */
export class ProviderClock {
  #options
  /** Bounds of the provider's clock minus the monotonic one, in ms. */
  #offset: { min: number, max: number } | undefined
  #warnedSkewMs = 0

  constructor (options: ProviderClockOptions) {
    this.#options = options
  }

  /** ms since the epoch; null as long as no answer had a date */
  now (): number | null {
    if (this.#offset === undefined) return null
    return Math.round(performance.now() + (this.#offset.min + this.#offset.max) / 2)
  }

  /** @param date the header of a response; a missing or invalid one is ignored */
  observe (date: unknown, { sentAt, receivedAt }: ExchangeTimes): void {
    const at = typeof date === 'string' ? Date.parse(date) : NaN
    if (Number.isNaN(at)) return
    // The header has whole seconds, and was written at some moment between the two times.
    const seen = { min: at - receivedAt, max: at + secondMs - sentAt }
    const known = this.#offset ?? seen
    const both = { min: Math.max(known.min, seen.min), max: Math.min(known.max, seen.max) }
    this.#offset = both.min <= both.max ? both : seen
    this.#warnWhereLarge()
  }

  #warnWhereLarge (): void {
    const skewMs = (this.now() ?? 0) - this.#options.now()
    if (Math.abs(skewMs - this.#warnedSkewMs) <= largeSkewMs) return
    this.#warnedSkewMs = skewMs
    const skew = { skew_s: Math.round(skewMs / secondMs) }
    if (Math.abs(skewMs) > largeSkewMs) this.#options.log.warn(skew, 'The clock of this machine and that of Replicate differ; the service allows for it')
    else this.#options.log.info(skew, 'The clock of this machine and that of Replicate agree again')
  }
}
