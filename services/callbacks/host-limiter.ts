export interface HostLimiterOptions {
  /** how many go ahead at a time for one host, and how many more wait here */
  maxPerHost: number
  now: () => number
}

/** Comes again after that many milliseconds. */
export interface RetryLater { inMs: number }

interface Host { active: number, waiting: Array<(turn: RetryLater | undefined) => void>, averageMs: number, bookedUntil: number }

/** Until the first has left. */
const initialAverageMs = 200
const maxDelayMs = 600_000
/** Of the last one in the average. */
const averageWeight = 0.2

/**
 * Lets only so many go ahead at a time for one host, so that a host that hangs does not take the places of all others.
 * Who finds no room is told when it will probably be its turn, by the pace at which others left.
 */
export class HostLimiter {
  #options
  #hosts = new Map<string, Host>()
  #isClosed = false

  constructor (options: HostLimiterOptions) {
    this.#options = options
  }

  /** @returns undefined when it is the caller's turn, who calls `leave` in any case then; else when to come again */
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
   * @param tookMs how long the caller was inside
   * @returns whether it is worth looking for more: some were told to come again, and there is room now
   */
  release (name: string, tookMs: number): boolean {
    const host = this.#hosts.get(name)
    if (host === undefined) throw new Error('Left without having entered')
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

  /** What waits, and what still comes, is told to come again at once. */
  close (): void {
    this.#isClosed = true
    for (const { waiting } of this.#hosts.values()) {
      for (const tell of waiting.splice(0)) tell({ inMs: 0 })
    }
  }

  #scheduleRetry (host: Host): number {
    const { maxPerHost, now } = this.#options
    const eachMs = host.averageMs / maxPerHost
    host.bookedUntil = Math.max(host.bookedUntil, now() + host.waiting.length * eachMs) + eachMs
    return Math.min(host.bookedUntil - now(), maxDelayMs)
  }
}
