import { backoffDelay, wait } from '../runtime/backoff.ts'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import type { Log } from '../runtime/log.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { CreateOutcome } from '../replicate/outcomes.ts'
import type { UpstreamFailure } from '../replicate/replicate-failure.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'

export interface CreateGateOptions {
  replicate: ReplicateClient
  /** how many creates may be under way at a time */
  mostAtOnce: number
  /** Called when one more may come. */
  onRoom: () => void
  log: Log
  /** aborted when the instance stops */
  signal: AbortSignal
}

export interface Passage {
  /** Smaller goes first. */
  order: number
  /** ms after which it is too late */
  withinMs: number
  signal: AbortSignal
}

interface Waiter { order: number, enter: () => void }

/** Failures in a row that close the gate; an account that is refused needs no second one. */
const failuresToClose = 3
const pause = { firstMs: 2_000, maxMs: 60_000 }

/** Says nothing of Replicate or the account: the limit has its own pause, and a model can be forbidden to one task. */
function isOthersTrouble ({ status }: UpstreamFailure): boolean {
  return status === 429 || status === 403
}

/**
 * Where all creates of an instance pass: first come, first served, at the pace of the limit, few at a time. While
 * Replicate is down or refuses the account the gate is closed (a circuit breaker): tasks wait here, none is marked or
 * sent, and after a growing pause one goes ahead to see.
 */
export class CreateGate {
  #options
  #waiting: Waiter[] = []
  #inside = 0
  #failures = 0
  /** Why it is closed; undefined while it is open. */
  #closedFor: TaskFailureCode | undefined
  /** Closings in a row. */
  #closings = 0
  /** Closed, but one may go ahead to see. */
  #isProbing = false

  constructor (options: CreateGateOptions) {
    this.#options = options
  }

  /** How many tasks are here, inside or waiting. */
  get size (): number {
    return this.#inside + this.#waiting.length
  }

  /** What holds tasks up at the moment, undefined where nothing does. */
  get reason (): TaskFailureCode | undefined {
    return this.#closedFor ?? (this.#options.replicate.creates.isBlocked ? 'provider_rate_limited' : undefined)
  }

  /**
   * Runs `create` when it is its turn.
   * @param create sends, and gives what came of it: undefined where it did not come to that. The words of a failure are
   * logged as they are
   * @returns false where it was too late; `create` has not been called then
   * @throws the signal's reason where it is aborted before the turn, or what `create` throws
   */
  async pass ({ order, withinMs, signal }: Passage, create: () => Promise<CreateOutcome | undefined>): Promise<boolean> {
    if (withinMs <= 0) return false
    const { signal: late, dispose } = createDeadlineSignal(signal, Math.ceil(withinMs))
    try {
      for (let isDone = false; !isDone;) {
        await this.#enter(order, late)
        isDone = await this.#passThrough(create, late)
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

  async #passThrough (create: () => Promise<CreateOutcome | undefined>, late: AbortSignal): Promise<boolean> {
    try {
      return await this.#goAhead(create, late)
    } finally {
      this.#inside--
      this.#admit()
      this.#options.onRoom()
    }
  }

  /** @returns false where the gate closed while this one waited for its turn: it has to wait again */
  async #goAhead (create: () => Promise<CreateOutcome | undefined>, late: AbortSignal): Promise<boolean> {
    const { creates } = this.#options.replicate
    const closings = this.#closings
    await creates.turn(late)
    try {
      if (closings !== this.#closings) return false
      const outcome = await create()
      // What was sent before the gate closed says nothing new.
      if (closings === this.#closings) this.#learn(outcome)
      return true
    } finally {
      creates.done()
    }
  }

  #enter (order: number, signal: AbortSignal): Promise<void> {
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
    while (this.#inside < this.#places) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#inside++
      next.enter()
    }
  }

  get #places (): number {
    if (this.#closedFor === undefined) return this.#options.mostAtOnce
    return this.#isProbing ? 1 : 0
  }

  #learn (answer: CreateOutcome | undefined): void {
    if (answer === undefined || answer.outcome === 'withdrawn') return
    if (answer.outcome === 'created' || answer.outcome === 'refused' || isOthersTrouble(answer.failure)) return this.#open()
    const isRefused = answer.failure.code === 'provider_account'
    this.#failures++
    if (!isRefused && this.#failures < failuresToClose && !this.#isProbing) return
    if (this.#closings === 0) {
      const { status, words } = answer.failure
      this.#options.log.warn({ provider_status: status, provider_words: words }, 'Replicate takes no predictions; tasks wait until it does')
    }
    this.#close(isRefused ? 'provider_account' : 'provider_unavailable')
  }

  #open (): void {
    if (this.#closedFor !== undefined) this.#options.log.info({}, 'Replicate takes predictions again')
    this.#closedFor = undefined
    this.#failures = 0
    this.#closings = 0
    this.#isProbing = false
    this.#admit()
  }

  #close (reason: TaskFailureCode): void {
    this.#closedFor = reason
    this.#closings++
    this.#isProbing = false
    this.#probe().catch((err: unknown) => {
      if (!this.#options.signal.aborted) this.#options.log.error({ err }, 'Could not look whether Replicate is back')
    })
  }

  /** Lets one go ahead after a pause. Where Replicate was down, not before a call that costs nothing has succeeded. */
  async #probe (): Promise<void> {
    const { replicate, signal } = this.#options
    for (let tries = this.#closings - 1; ; tries++) {
      await wait(backoffDelay(tries, pause), signal)
      if (this.#closedFor === 'provider_account') break
      const account = await replicate.account({ signal })
      if (account.outcome === 'accepted') break
      if (account.failure.code === 'provider_account') this.#closedFor = 'provider_account'
    }
    this.#isProbing = true
    this.#admit()
  }
}
