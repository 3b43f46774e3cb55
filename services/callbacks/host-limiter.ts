export interface HostLimiterOptions {
  /** permits of one host, and also the number of callers that may wait for one */
  maxPerHost: number
  now: () => number
}

/** Tells a caller to try again after some milliseconds. */
export interface RetryLater { inMs: number }

interface Host { active: number, waiting: Array<(turn: RetryLater | undefined) => void>, averageMs: number, bookedUntil: number }

/** The assumed duration until the first permit of a host is released. */
const initialAverageMs = 200
const maxDelayMs = 600_000
/** The weight of the last duration in the moving average. */
const averageWeight = 0.2

/**
 * Limits the concurrent calls to each host, so that a host that hangs does not use up the permits of all others. A caller beyond the
 * queue of a host is told when a permit will probably be free, estimated by the average duration of the calls.
 */
export class HostLimiter {
  #options
  #hosts = new Map<string, Host>()
  #isClosed = false

  constructor (options: HostLimiterOptions) {
    this.#options = options
  }

  /** Waits for a permit. @returns undefined with a permit, which the caller has to release; otherwise when to try again */
  async acquire (name: string): Promise<RetryLater | undefined> {
    if (this.#isClosed) return { inMs: 0 }
    const { maxPerHost } = this.#options
    const host = this.#hosts.get(name) ?? { active: 0, waiting: [], averageMs: initialAverageMs, bookedUntil: 0 }
    this.#hosts.set(name, host)
    if (host.active < maxPerHost) {
      host.active++
      return undefined
    }
    if (host.waiting.length < maxPerHost) return await new Promise((resolve) => host.waiting.push(resolve))
    return { inMs: this.#scheduleRetry(host) }
  }

  /**
   * Returns a permit.
   * @param tookMs how long the caller held it
   * @returns whether to claim more work at once: callers were told to try again later, and a permit is free now
   */
  release (name: string, tookMs: number): boolean {
    const host = this.#hosts.get(name)
    if (host === undefined) throw new Error('Released without a permit')
    host.averageMs += (tookMs - host.averageMs) * averageWeight
    const next = host.waiting.shift()
    if (next !== undefined) {
      next(undefined)
      return false
    }
    host.active--
    if (host.active === 0) this.#hosts.delete(name)
    return host.bookedUntil > 0
  }

  /** From now on all callers, including those that wait, are told to try again at once. */
  close (): void {
    this.#isClosed = true
    for (const { waiting } of this.#hosts.values()) {
      for (const resolve of waiting.splice(0)) resolve({ inMs: 0 })
    }
  }

  #scheduleRetry (host: Host): number {
    const { maxPerHost, now } = this.#options
    const eachMs = host.averageMs / maxPerHost
    host.bookedUntil = Math.max(host.bookedUntil, now() + host.waiting.length * eachMs) + eachMs
    return Math.min(host.bookedUntil - now(), maxDelayMs)
  }
}
