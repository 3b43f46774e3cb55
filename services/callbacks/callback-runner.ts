import { backoffDelay, wait } from '../runtime/backoff.ts'
import { ClaimLoop } from '../runtime/claim-loop.ts'
import type { Log } from '../runtime/log.ts'
import type { CallbackDeliveries, CallbackDelivery, NextAttempt } from '../store/callback-deliveries.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'
import { HostLimiter } from './host-limiter.ts'

export interface CallbackRunnerOptions {
  deliveries: CallbackDeliveries
  /** Makes one attempt. @returns when to make the next one; undefined if the delivery is finished */
  deliverCallback: (delivery: CallbackDelivery) => Promise<{ inMs: number } | undefined>
  /** deliveries that are claimed at a time: in progress, or waiting for others to the same host */
  maxConcurrent: number
  /** deliveries to one host that are in progress at a time */
  maxPerHost: number
  /** how often to claim attempts that have become due, in ms */
  claimIntervalMs: number
  log: Log
}

const storeBackoff = { firstMs: 200, maxMs: 10_000 }

/** Makes the deliveries of a store when they become due, from `start` until `stop`. */
export class CallbackRunner {
  #options
  #claims
  #running = new Map<string, Promise<void>>()
  #hostLimiter
  #stopping = new AbortController()

  constructor (options: CallbackRunnerOptions) {
    this.#options = options
    this.#hostLimiter = new HostLimiter({ maxPerHost: options.maxPerHost, now: () => performance.now() })
    const { deliveries, claimIntervalMs, log } = options
    this.#claims = new ClaimLoop({ claim: () => this.#claim(), claimIntervalMs, log })
    deliveries.onDue(() => this.#claims.wake())
  }

  start (): void {
    this.#claims.start()
  }

  /** Waits for the responses to what has been sent, so that no delivery is repeated without need. Their timeout bounds the wait. */
  async stop (): Promise<void> {
    this.#stopping.abort(new Error('The instance is stopping'))
    this.#hostLimiter.close()
    await this.#claims.stop()
    await Promise.all(this.#running.values())
  }

  async #claim (): Promise<void> {
    const { deliveries, maxConcurrent } = this.#options
    const free = maxConcurrent - this.#running.size
    if (free <= 0) return
    const claimed = await deliveries.claim(free)
    // A delivery whose lease was lost and claimed again is in progress already. Its result is recorded with the current lease.
    for (const delivery of claimed.filter(({ id }) => !this.#running.has(id))) this.#run(delivery)
    if (claimed.length === free) this.#claims.wake()
  }

  #run (delivery: CallbackDelivery): void {
    const done = this.#deliver(delivery)
      .catch((err: unknown) => this.#options.log.error({ err, task_id: delivery.task.id }, 'A callback could not be made or its result not be stored; it is made again after the next start'))
      .finally(() => {
        const wasFull = this.#running.size >= this.#options.maxConcurrent
        this.#running.delete(delivery.id)
        if (wasFull) this.#claims.wake()
      })
    this.#running.set(delivery.id, done)
  }

  async #deliver (delivery: CallbackDelivery): Promise<void> {
    const host = readHost(delivery)
    const later = await this.#hostLimiter.acquire(host)
    if (later !== undefined) return await this.#recordAttempt(delivery, { ...later, attempt: delivery.attempt })
    const startedAt = performance.now()
    try {
      await this.#recordAttempt(delivery, await this.#options.deliverCallback(delivery))
    } finally {
      if (this.#hostLimiter.release(host, performance.now() - startedAt)) this.#claims.wake()
    }
  }

  /** Retries while the store is unavailable, so that the delivery is not made again. After the process starts to stop it tries once more. */
  async #recordAttempt (delivery: CallbackDelivery, next: NextAttempt | undefined): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#options.deliveries.finishAttempt(delivery, next)
      } catch (err) {
        const { signal } = this.#stopping
        if (!(err instanceof StoreUnavailableError) || signal.aborted) throw err
        if (attempt === 0) this.#options.log.warn({ err, task_id: delivery.task.id }, 'The task store is unavailable; the result of a callback cannot be stored yet')
        await wait(backoffDelay(attempt, storeBackoff), signal).catch(() => undefined)
      }
    }
  }
}

function readHost ({ task: { callbackUrl } }: CallbackDelivery): string {
  return URL.parse(callbackUrl ?? '')?.host ?? ''
}
