import { backoffDelay, wait, type BackoffOptions } from './backoff.ts'
import type { Log } from './log.ts'

/** `closed`: calls pass. `open`: calls are refused. `half_open`: one call passes as a probe, and its outcome decides. */
export const breakerStates = ['closed', 'open', 'half_open'] as const
export type BreakerState = typeof breakerStates[number]

export interface CircuitBreakerOptions<Reason> {
  /** consecutive failures that open the breaker */
  failureThreshold: number
  /** how long the breaker stays open before it lets a probe pass, longer each time the probe fails */
  openBackoff: BackoffOptions
  /**
   * Called when that time has passed.
   * @returns undefined to let a probe pass, or the reason to stay open for longer
   */
  checkRecovery: (reason: Reason) => Promise<Reason | undefined>
  /** Called after each change of the state. */
  onChange: (state: BreakerState) => void
  log: Log
  /** When it is aborted, an open breaker stays open. */
  signal: AbortSignal
}

/**
 * Decides whether calls to a service that may be down are made. The breaker sees outcomes only: the caller reads the
 * state before each call, and limits a half-open breaker to one call at a time.
 */
export class CircuitBreaker<Reason> {
  #options
  #state: BreakerState = 'closed'
  #reason: Reason | undefined
  #failures = 0
  #openings = 0

  constructor (options: CircuitBreakerOptions<Reason>) {
    this.#options = options
  }

  get state (): BreakerState {
    return this.#state
  }

  /** Why the breaker is open or half-open; undefined while it is closed. */
  get reason (): Reason | undefined {
    return this.#reason
  }

  /**
   * How many times the breaker has opened since it was last closed. A call that began at another number says nothing
   * new: its outcome must not be recorded.
   */
  get openings (): number {
    return this.#openings
  }

  recordSuccess (): void {
    this.#failures = 0
    this.#openings = 0
    this.#reason = undefined
    if (this.#state !== 'closed') this.#change('closed')
  }

  /** @param isConclusive whether this one failure is enough to open the breaker */
  recordFailure (reason: Reason, isConclusive = false): void {
    if (this.#state === 'open') return
    this.#failures++
    if (this.#state === 'closed' && !isConclusive && this.#failures < this.#options.failureThreshold) return
    this.#reason = reason
    this.#openings++
    this.#change('open')
    this.#waitForRecovery(reason).catch((err: unknown) => {
      if (!this.#options.signal.aborted) this.#options.log.error({ err }, 'A circuit breaker could not check for recovery')
    })
  }

  async #waitForRecovery (openedFor: Reason): Promise<void> {
    const { openBackoff, checkRecovery, signal } = this.#options
    let reason: Reason | undefined = openedFor
    for (let attempt = this.#openings - 1; reason !== undefined; attempt++) {
      this.#reason = reason
      await wait(backoffDelay(attempt, openBackoff), signal)
      reason = await checkRecovery(reason)
      if (this.#state !== 'open') return
    }
    this.#change('half_open')
  }

  #change (state: BreakerState): void {
    this.#state = state
    this.#options.onChange(state)
  }
}
