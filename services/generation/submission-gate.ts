import type { CreateOutcome } from '../replicate/outcomes.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { UpstreamFailure } from '../replicate/replicate-failure.ts'
import { CircuitBreaker, type BreakerState } from '../runtime/circuit-breaker.ts'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import type { Log } from '../runtime/log.ts'
import type { Order } from '../runtime/waiting-line.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import { SubmissionQueue } from './submission-queue.ts'

export interface SubmissionGateOptions {
  replicate: ReplicateClient
  /** how many creates may be under way at a time */
  maxConcurrent: number
  /** Called when a create has ended, so that another task can be claimed. */
  onCapacity: () => void
  log: Log
  /** aborted when the instance stops */
  signal: AbortSignal
}

export interface GateRequest {
  order: Order
  /** ms after which it is too late to submit the task */
  timeoutMs: number
  signal: AbortSignal
}

/** Sends a create; undefined where nothing was to be sent. */
type Submit = () => Promise<CreateOutcome | undefined>

const breakerLimits = { failureThreshold: 3, openBackoff: { firstMs: 2_000, maxMs: 60_000 } }

/**
 * The gate that all creates of an instance pass: in the order of the tasks, at the pace of Replicate's limit, a few at a
 * time. While Replicate is down or refuses the account, its circuit breaker is open: tasks wait at the gate, and nothing
 * is stored or sent for them until one task has gone ahead as a probe.
 */
export class SubmissionGate {
  #options
  #queue
  #breaker

  constructor (options: SubmissionGateOptions) {
    const { log, signal } = options
    this.#options = options
    this.#queue = new SubmissionQueue(() => this.#capacity)
    this.#breaker = new CircuitBreaker<TaskFailureCode>({
      ...breakerLimits,
      checkRecovery: (reason) => this.#checkRecovery(reason),
      onChange: (state) => this.#onBreakerChange(state),
      log,
      signal
    })
  }

  /** How many tasks wait at the gate or are being submitted. */
  get size (): number {
    return this.#queue.size
  }

  get breakerState (): BreakerState {
    return this.#breaker.state
  }

  /** Why tasks wait at the moment; undefined where only our own pace makes them wait. */
  get blockReason (): TaskFailureCode | undefined {
    return this.#breaker.reason ?? (this.#options.replicate.creates.isBlocked ? 'provider_rate_limited' : undefined)
  }

  /**
   * Runs `submit` when it is the task's turn.
   * @param submit resolves with the outcome of the create, whose failure message is logged as it is
   * @returns false where the task's time was over; `submit` has not been called then
   * @throws the signal's reason where it is aborted before the turn, or what `submit` throws
   */
  async run ({ order, timeoutMs, signal }: GateRequest, submit: Submit): Promise<boolean> {
    if (timeoutMs <= 0) return false
    const { signal: inTime, dispose } = createDeadlineSignal(signal, Math.ceil(timeoutMs))
    try {
      for (let isDone = false; !isDone;) {
        await this.#queue.acquire(order, inTime)
        isDone = await this.#runAdmitted(submit, order, inTime)
      }
      return true
    } catch (error) {
      signal.throwIfAborted()
      if (!inTime.aborted || error !== inTime.reason) throw error
      return false
    } finally {
      dispose()
    }
  }

  async #runAdmitted (submit: Submit, order: Order, inTime: AbortSignal): Promise<boolean> {
    try {
      return await this.#runWithinLimit(submit, order, inTime)
    } finally {
      this.#queue.release()
      this.#options.onCapacity()
    }
  }

  /** @returns false where the breaker has opened while the task waited for the limit: the task has to queue again */
  async #runWithinLimit (submit: Submit, order: Order, inTime: AbortSignal): Promise<boolean> {
    const { creates } = this.#options.replicate
    const { openings } = this.#breaker
    await creates.acquire(inTime, order)
    try {
      if (openings !== this.#breaker.openings) return false
      const outcome = await submit()
      // A create that was sent before the breaker opened says nothing new.
      if (openings === this.#breaker.openings) this.#record(outcome)
      return true
    } finally {
      creates.release()
    }
  }

  get #capacity (): number {
    switch (this.#breaker.state) {
      case 'closed': return this.#options.maxConcurrent
      case 'half_open': return 1
      case 'open': return 0
    }
  }

  #record (outcome: CreateOutcome | undefined): void {
    if (outcome === undefined || outcome.outcome === 'withdrawn') return
    if (outcome.outcome === 'created' || outcome.outcome === 'refused' || isUnrelated(outcome.failure)) this.#breaker.recordSuccess()
    else this.#recordFailure(outcome.failure)
  }

  #recordFailure ({ code, status, message }: UpstreamFailure): void {
    const wasClosed = this.#breaker.state === 'closed'
    const isRefused = code === 'provider_account'
    this.#breaker.recordFailure(isRefused ? 'provider_account' : 'provider_unavailable', isRefused)
    if (!wasClosed || this.#breaker.state === 'closed') return
    this.#options.log.warn({ provider_status: status, provider_message: message }, 'Replicate takes no predictions; tasks wait until it does')
  }

  #onBreakerChange (state: BreakerState): void {
    if (state === 'closed') this.#options.log.info({}, 'Replicate takes predictions again')
    this.#queue.admit()
  }

  /** A read of the account costs nothing, but tells nothing about an account that is refused: only a create does. */
  async #checkRecovery (reason: TaskFailureCode): Promise<TaskFailureCode | undefined> {
    if (reason === 'provider_account') return undefined
    const account = await this.#options.replicate.account({ signal: this.#options.signal })
    if (account.outcome === 'accepted') return undefined
    return account.failure.code === 'provider_account' ? 'provider_account' : reason
  }
}

/** A 429 has a pause of its own, and a 403 can concern one model: neither says anything about Replicate or the account. */
function isUnrelated ({ status }: UpstreamFailure): boolean {
  return status === 429 || status === 403
}
