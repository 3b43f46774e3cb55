import { setTimeout as delay } from 'node:timers/promises'
import { backoffDelay } from '../runtime/backoff.ts'
import type { CallBudget } from './call-budget.ts'
import type { Log } from '../runtime/log.ts'

export interface CallLimiterOptions {
  budget: CallBudget
  log: Log
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

/** Taken from the budget at once: what is taken and then not needed is lost. */
const mostTaken = 10
const budgetAwayMs = 1_000
/** After a 429 that does not say how long. */
const exceeded = { firstMs: 1_000, maxMs: 60_000 }

/** Lets calls of one kind leave, first come, first served, within a budget that believes what the provider says of its limit. */
export class CallLimiter {
  #options
  #queue: Array<{ go: () => void }> = []
  #isAdmitting = false
  #blockedUntil = 0
  #allowance = { left: Infinity, until: 0 }
  #underWay = 0
  #refusals = 0

  constructor (options: CallLimiterOptions) {
    this.#options = options
  }

  /** Whether the provider, not our own pace, holds calls up. */
  get isBlocked (): boolean {
    return this.#blockedUntil > performance.now()
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
  }

  /** What the answer to a call under way says. */
  believe ({ exceeded: isExceeded, remaining, resetMs, retryAfterMs }: LimitNews): void {
    this.#refusals = isExceeded ? this.#refusals + 1 : 0
    const stayAwayMs = retryAfterMs ?? (isExceeded ? backoffDelay(this.#refusals - 1, exceeded) : 0)
    if (stayAwayMs > 0) this.#pause(stayAwayMs)
    // The other calls under way were not counted yet when this answer was written.
    if (remaining !== null && resetMs !== null) this.#allowance = { left: remaining - (this.#underWay - 1), until: performance.now() + resetMs }
    this.#pauseWhereUsedUp()
  }

  #pauseWhereUsedUp (): void {
    const resetMs = this.#allowance.until - performance.now()
    if (this.#allowance.left <= 0 && resetMs > 0) this.#pause(resetMs)
  }

  /** Here at once, and for all who share the budget. */
  #pause (ms: number): void {
    this.#block(ms)
    this.#options.budget.pause(ms).catch((err: unknown) => {
      this.#options.log.debug({ err }, 'A pause of calls could not be told to the other instances')
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
      if (this.#queue.length > 0) this.#admit()
    })
  }

  /** Never rejects: a budget that is away is asked again. */
  async #admitAll (): Promise<void> {
    while (this.#queue.length > 0) {
      const blockMs = this.#blockedUntil - performance.now()
      if (blockMs > 0) await pass(blockMs)
      else await this.#admitSome()
    }
  }

  async #admitSome (): Promise<void> {
    const { budget, log } = this.#options
    const { taken, waitMs, stepMs } = await budget.take(Math.min(this.#queue.length, mostTaken)).catch((err: unknown) => {
      log.debug({ err }, 'The budget of calls is away')
      return { taken: 0, waitMs: budgetAwayMs, stepMs: 0 }
    })
    if (taken === 0) this.#block(waitMs)
    const startedAt = performance.now() + waitMs
    for (let call = 0; call < taken && !this.isBlocked; call++) {
      const ms = startedAt + call * stepMs - performance.now()
      if (ms > 0) await pass(ms)
      const next = this.#queue.shift()
      if (next === undefined) return
      this.#underWay++
      this.#allowance.left--
      this.#pauseWhereUsedUp()
      next.go()
    }
  }
}

/** Keeps no process alive: whoever waits for a turn has a signal that is aborted at the end. */
async function pass (ms: number): Promise<void> {
  await delay(ms, undefined, { ref: false })
}
