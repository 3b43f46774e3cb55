const windowMs = 60_000

export interface Allowance {
  allowed: boolean
  remaining: number
  resetSeconds: number
}

/** A limit of calls a minute for each token, in windows that begin with the first call of the token. */
export class RateLimit {
  readonly #limit: number
  readonly #now: () => number
  readonly #windows = new Map<string, { endsAt: number, used: number }>()

  constructor (limit: number, now: () => number) {
    this.#limit = limit
    this.#now = now
  }

  /** Counts one call if it is allowed. */
  spend (token: string): Allowance {
    const now = this.#now()
    const window = this.#window(token, now)
    const allowed = window.used < this.#limit
    if (allowed) window.used += 1
    return { allowed, remaining: this.#limit - window.used, resetSeconds: Math.max(1, Math.ceil((window.endsAt - now) / 1000)) }
  }

  #window (token: string, now: number): { endsAt: number, used: number } {
    const known = this.#windows.get(token)
    if (known !== undefined && now < known.endsAt) return known
    const fresh = { endsAt: now + windowMs, used: 0 }
    this.#windows.set(token, fresh)
    return fresh
  }
}
