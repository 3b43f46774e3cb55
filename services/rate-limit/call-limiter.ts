import { setTimeout as delay } from 'node:timers/promises'
import { backoffDelay } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import { WaitingLine, type Order } from '../runtime/waiting-line.ts'
import type { CallBudget } from './call-budget.ts'

export interface CallLimiterOptions {
  budget: CallBudget
  log: Log
}

/** What an answer says about the provider's own limit; null where it says nothing. */
export interface ReportedLimit {
  /** 429: this call exceeded the limit */
  exceeded: boolean
  /** calls that are left until `resetMs` have passed */
  remaining: number | null
  resetMs: number | null
  /** how long the provider asks us to wait */
  retryAfterMs: number | null
}

/** Reserved at a time: a reserved call that is not needed is lost. */
const maxReservedCalls = 10
const budgetRetryMs = 1_000
/** After a 429 without a time. */
const refusalBackoff = { firstMs: 1_000, maxMs: 60_000 }

/** Sends calls of one kind in their order, within a budget, and pauses when the provider reports that its limit is used up. */
export class CallLimiter {
  #options
  #queue = new WaitingLine()
  #isAdmitting = false
  #blockedUntil = 0
  #reported = { left: Infinity, until: 0 }
  #inProgress = 0
  #refusals = 0

  constructor (options: CallLimiterOptions) {
    this.#options = options
  }

  /** Whether the provider delays calls, not our own rate limit. */
  get isBlocked (): boolean {
    return this.#blockedUntil > performance.now()
  }

  /** How many calls wait for their turn. */
  get waiting (): number {
    return this.#queue.size
  }

  /**
   * Resolves when the caller may send. The caller calls `observe` with the answer, and `release` in any case.
   * @param order by default the order of arrival
   * @throws the signal's reason as soon as it is aborted
   */
  acquire (signal?: AbortSignal, order: Order = []): Promise<void> {
    const turn = this.#queue.wait(order, signal)
    this.#admit()
    return turn
  }

  /** A call that was acquired has ended. */
  release (): void {
    this.#inProgress--
  }

  /** Takes account of what the answer to a call says about the limit. */
  observe ({ exceeded, remaining, resetMs, retryAfterMs }: ReportedLimit): void {
    this.#refusals = exceeded ? this.#refusals + 1 : 0
    const pauseMs = retryAfterMs ?? (exceeded ? backoffDelay(this.#refusals - 1, refusalBackoff) : 0)
    if (pauseMs > 0) this.#pause(pauseMs)
    // When this answer was written, the other calls under way were not counted yet.
    if (remaining !== null && resetMs !== null) this.#reported = { left: remaining - (this.#inProgress - 1), until: performance.now() + resetMs }
    this.#pauseIfUsedUp()
  }

  #pauseIfUsedUp (): void {
    const resetMs = this.#reported.until - performance.now()
    if (this.#reported.left <= 0 && resetMs > 0) this.#pause(resetMs)
  }

  /** Takes effect here at once, and for all instances that share the budget. */
  #pause (ms: number): void {
    this.#block(ms)
    this.#options.budget.pause(ms).catch((err: unknown) => {
      this.#options.log.debug({ err }, 'A pause of calls could not be shared with the other instances')
    })
  }

  #block (ms: number): void {
    this.#blockedUntil = Math.max(this.#blockedUntil, performance.now() + ms)
  }

  #admit (): void {
    if (this.#isAdmitting) return
    this.#isAdmitting = true
    this.#admitAll().finally(() => {
      this.#isAdmitting = false
      if (this.#queue.size > 0) this.#admit()
    })
  }

  /** Never rejects: a budget that is unavailable is asked again. */
  async #admitAll (): Promise<void> {
    while (this.#queue.size > 0) {
      const blockMs = this.#blockedUntil - performance.now()
      if (blockMs > 0) await waitUnref(blockMs)
      else await this.#admitSome()
    }
  }

  async #admitSome (): Promise<void> {
    const { budget, log } = this.#options
    const { calls, waitMs, emissionIntervalMs } = await budget.reserve(Math.min(this.#queue.size, maxReservedCalls)).catch((err: unknown) => {
      log.debug({ err }, 'The budget of calls is unavailable')
      return { calls: 0, waitMs: budgetRetryMs, emissionIntervalMs: 0 }
    })
    if (calls === 0) this.#block(waitMs)
    const startedAt = performance.now() + waitMs
    for (let call = 0; call < calls && !this.isBlocked; call++) {
      const ms = startedAt + call * emissionIntervalMs - performance.now()
      if (ms > 0) await waitUnref(ms)
      if (!this.#queue.admitNext()) return
      this.#inProgress++
      this.#reported.left--
      this.#pauseIfUsedUp()
    }
  }
}

/** Does not keep the process alive: every waiting caller has a signal that is aborted when the instance stops. */
async function waitUnref (ms: number): Promise<void> {
  await delay(ms, undefined, { ref: false })
}
