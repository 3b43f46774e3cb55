import { backoffDelay } from './backoff.ts'

export interface CallLimiterOptions {
  /** how many calls may leave in a minute; a twelfth of them may leave at once */
  perMinute: number
  /** ms since whenever, on a clock that never goes back */
  now: () => number
}

/** What an answer says of the provider's own limit; null where it says nothing. */
export interface LimitNews {
  /** 429: this call was one too many */
  exceeded: boolean
  /** calls that are left until `resetMs` from now */
  remaining: number | null
  resetMs: number | null
  /** how long the provider asks us to stay away */
  retryAfterMs: number | null
}

const minuteMs = 60_000
const burstMs = 5_000
/** After a 429 that does not say how long. */
const exceeded = { first: 1_000, longest: 60_000 }

/** Lets calls of one kind leave at a pace, first come, first served, and believes whatever the provider says of its limit. */
export class CallLimiter {
  #options
  #queue: Array<{ go: () => void }> = []
  #timer: NodeJS.Timeout | undefined
  /** When the next call would leave if calls left evenly (generic cell rate algorithm). */
  #evenAt = 0
  #blockedUntil = 0
  #allowance = { left: Infinity, until: 0 }
  #underWay = 0
  #refusals = 0

  constructor (options: CallLimiterOptions) {
    this.#options = options
  }

  /** Whether the provider, not our own pace, holds calls up. */
  get isBlocked (): boolean {
    return this.#blockMs() > 0
  }

  /**
   * Resolves when the caller may send. It calls `believe` when it has an answer, and `done` in any case.
   * @throws the signal's reason as soon as it is aborted
   */
  turn (signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1)
        this.#admit()
        reject(signal?.reason)
      }
      const waiter = {
        go: () => {
          signal?.removeEventListener('abort', giveUp)
          resolve()
        }
      }
      signal?.addEventListener('abort', giveUp)
      this.#queue.push(waiter)
      this.#admit()
    })
  }

  /** The call of an earlier turn has ended. */
  done (): void {
    this.#underWay--
    this.#admit()
  }

  /** What the answer to a call under way says. */
  believe ({ exceeded: isExceeded, remaining, resetMs, retryAfterMs }: LimitNews): void {
    const now = this.#options.now()
    this.#refusals = isExceeded ? this.#refusals + 1 : 0
    const stayAwayMs = retryAfterMs ?? (isExceeded ? backoffDelay(this.#refusals - 1, exceeded) : 0)
    this.#blockedUntil = Math.max(this.#blockedUntil, now + stayAwayMs)
    if (remaining === null || resetMs === null) return
    // The other calls under way were not counted yet when this answer was written.
    this.#allowance = { left: remaining - (this.#underWay - 1), until: now + resetMs }
  }

  #admit (): void {
    clearTimeout(this.#timer)
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const ms = Math.max(this.#blockMs(), this.#paceMs())
      if (ms > 0) {
        this.#timer = setTimeout(() => this.#admit(), ms)
        return
      }
      this.#queue.shift()
      this.#evenAt = Math.max(this.#evenAt, this.#options.now() - burstMs) + minuteMs / this.#options.perMinute
      this.#allowance.left--
      this.#underWay++
      next.go()
    }
  }

  #blockMs (): number {
    const now = this.#options.now()
    const resetMs = this.#allowance.left > 0 ? 0 : this.#allowance.until - now
    return Math.max(0, this.#blockedUntil - now, resetMs)
  }

  #paceMs (): number {
    return Math.max(0, this.#evenAt - this.#options.now())
  }
}
