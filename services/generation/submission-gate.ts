import { backoffDelay, wait } from '../runtime/backoff.ts'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import type { Log } from '../runtime/log.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { CreateOutcome } from '../replicate/outcomes.ts'
import type { UpstreamFailure } from '../replicate/replicate-failure.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'

export interface SubmissionGateOptions {
  replicate: ReplicateClient
  /** how many creates may be under way at a time */
  maxConcurrent: number
  /** Called when one more may come. */
  onCapacity: () => void
  log: Log
  /** aborted when the instance stops */
  signal: AbortSignal
}

export interface GateRequest {
  /** Smaller goes first. */
  order: number
  /** ms after which it is too late */
  timeoutMs: number
  signal: AbortSignal
}

interface Waiter { order: number, enter: () => void }

/** Failures in a row that close the gate; an account that is refused needs no second one. */
const failureThreshold = 3
const openBackoff = { firstMs: 2_000, maxMs: 60_000 }

/** Says nothing of Replicate or the account: the limit has its own pause, and a model can be forbidden to one task. */
function isUnrelated ({ status }: UpstreamFailure): boolean {
  return status === 429 || status === 403
}

/**
 * Where all creates of an instance pass: first come, first served, at the pace of the limit, few at a time. While
 * Replicate is down or refuses the account the gate is closed (a circuit breaker): tasks wait here, none is marked or
 * sent, and after a growing pause one goes ahead to see.
 */
export class SubmissionGate {
  #options
  #waiting: Waiter[] = []
  #running = 0
  #failures = 0
  /** Why it is closed; undefined while it is open. */
  #openReason: TaskFailureCode | undefined
  /** Closings in a row. */
  #openings = 0
  /** Closed, but one may go ahead to see. */
  #isHalfOpen = false

  constructor (options: SubmissionGateOptions) {
    this.#options = options
  }

  /** How many tasks are here, inside or waiting. */
  get size (): number {
    return this.#running + this.#waiting.length
  }

  /** What holds tasks up at the moment, undefined where nothing does. */
  get blockReason (): TaskFailureCode | undefined {
    return this.#openReason ?? (this.#options.replicate.creates.isBlocked ? 'provider_rate_limited' : undefined)
  }

  /**
   * Runs `create` when it is its turn.
   * @param create sends, and gives what came of it: undefined where it did not come to that. The words of a failure are
   * logged as they are
   * @returns false where it was too late; `create` has not been called then
   * @throws the signal's reason where it is aborted before the turn, or what `create` throws
   */
  async run ({ order, timeoutMs, signal }: GateRequest, create: () => Promise<CreateOutcome | undefined>): Promise<boolean> {
    if (timeoutMs <= 0) return false
    const { signal: late, dispose } = createDeadlineSignal(signal, Math.ceil(timeoutMs))
    try {
      for (let isDone = false; !isDone;) {
        await this.#waitForPlace(order, late)
        isDone = await this.#runAdmitted(create, late)
      }
      return true
    } catch (error) {
      signal.throwIfAborted()
      if (!late.aborted || error !== late.reason) throw error
      return false
    } finally {
      dispose()
    }
  }

  async #runAdmitted (create: () => Promise<CreateOutcome | undefined>, late: AbortSignal): Promise<boolean> {
    try {
      return await this.#runWithinLimit(create, late)
    } finally {
      this.#running--
      this.#admit()
      this.#options.onCapacity()
    }
  }

  /** @returns false where the gate closed while this one waited for its turn: it has to wait again */
  async #runWithinLimit (create: () => Promise<CreateOutcome | undefined>, late: AbortSignal): Promise<boolean> {
    const { creates } = this.#options.replicate
    const openings = this.#openings
    await creates.acquire(late)
    try {
      if (openings !== this.#openings) return false
      const outcome = await create()
      // What was sent before the gate closed says nothing new.
      if (openings === this.#openings) this.#record(outcome)
      return true
    } finally {
      creates.release()
    }
  }

  #waitForPlace (order: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal.reason)
      }
      const waiter = {
        order,
        enter: () => {
          signal.removeEventListener('abort', giveUp)
          resolve()
        }
      }
      signal.addEventListener('abort', giveUp)
      this.#waiting.splice(this.#waiting.findLastIndex((other) => other.order <= order) + 1, 0, waiter)
      this.#admit()
    })
  }

  #admit (): void {
    while (this.#running < this.#capacity) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#running++
      next.enter()
    }
  }

  get #capacity (): number {
    if (this.#openReason === undefined) return this.#options.maxConcurrent
    return this.#isHalfOpen ? 1 : 0
  }

  #record (answer: CreateOutcome | undefined): void {
    if (answer === undefined || answer.outcome === 'withdrawn') return
    if (answer.outcome === 'created' || answer.outcome === 'refused' || isUnrelated(answer.failure)) return this.#closeBreaker()
    const isRefused = answer.failure.code === 'provider_account'
    this.#failures++
    if (!isRefused && this.#failures < failureThreshold && !this.#isHalfOpen) return
    if (this.#openings === 0) {
      const { status, message } = answer.failure
      this.#options.log.warn({ provider_status: status, provider_message: message }, 'Replicate takes no predictions; tasks wait until it does')
    }
    this.#openBreaker(isRefused ? 'provider_account' : 'provider_unavailable')
  }

  #closeBreaker (): void {
    if (this.#openReason !== undefined) this.#options.log.info({}, 'Replicate takes predictions again')
    this.#openReason = undefined
    this.#failures = 0
    this.#openings = 0
    this.#isHalfOpen = false
    this.#admit()
  }

  #openBreaker (reason: TaskFailureCode): void {
    this.#openReason = reason
    this.#openings++
    this.#isHalfOpen = false
    this.#halfOpenLater().catch((err: unknown) => {
      if (!this.#options.signal.aborted) this.#options.log.error({ err }, 'Could not look whether Replicate is back')
    })
  }

  /** Lets one go ahead after a pause. Where Replicate was down, not before a call that costs nothing has succeeded. */
  async #halfOpenLater (): Promise<void> {
    const { replicate, signal } = this.#options
    for (let tries = this.#openings - 1; ; tries++) {
      await wait(backoffDelay(tries, openBackoff), signal)
      if (this.#openReason === 'provider_account') break
      const account = await replicate.account({ signal })
      if (account.outcome === 'accepted') break
      if (account.failure.code === 'provider_account') this.#openReason = 'provider_account'
    }
    this.#isHalfOpen = true
    this.#admit()
  }
}
