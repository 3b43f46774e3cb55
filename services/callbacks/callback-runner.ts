import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { CallbackDeliveries, CallbackDelivery, NextAttempt } from '../store/callback-deliveries.ts'
import { ClaimLoop } from '../runtime/claim-loop.ts'
import { HostLimiter } from './host-limiter.ts'
import type { Log } from '../runtime/log.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'

export interface CallbackRunnerOptions {
  deliveries: CallbackDeliveries
  /** Makes one attempt. @returns when to make the next one; undefined where it is over */
  deliverCallback: (delivery: CallbackDelivery) => Promise<{ inMs: number } | undefined>
  /** how many are held at a time, under way or waiting for others of their host */
  maxConcurrent: number
  /** how many are under way to one host at a time */
  maxPerHost: number
  /** how often, in ms, to look for attempts that have become due */
  claimIntervalMs: number
  log: Log
}

const storeBackoff = { firstMs: 200, maxMs: 10_000 }

/** Makes the deliveries of a store as they become due, from its start until it is stopped. */
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

  /** Waits for the answers of what has been sent, which are bounded, so that nobody is told twice. */
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
    // Whose lease was lost and came back is on its way already, and is settled with the lease of now.
    for (const delivery of claimed.filter(({ id }) => !this.#running.has(id))) this.#run(delivery)
    if (claimed.length === free) this.#claims.wake()
  }

  #run (delivery: CallbackDelivery): void {
    const done = this.#deliver(delivery)
      .catch((err: unknown) => this.#options.log.error({ err, task_id: delivery.task.id }, 'A callback could not be made or settled; it is made again after the next start'))
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

  /** A store that is away is no reason to tell anybody twice, while the process lives: the last try is made when it stops. */
  async #recordAttempt (delivery: CallbackDelivery, next: NextAttempt | undefined): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#options.deliveries.finishAttempt(delivery, next)
      } catch (err) {
        const { signal } = this.#stopping
        if (!(err instanceof StoreUnavailableError) || signal.aborted) throw err
        if (attempt === 0) this.#options.log.warn({ err, task_id: delivery.task.id }, 'The task store is away; a callback waits to be settled')
        await wait(backoffDelay(attempt, storeBackoff), signal).catch(() => undefined)
      }
    }
  }
}

function readHost ({ task: { callbackUrl } }: CallbackDelivery): string {
  return URL.parse(callbackUrl ?? '')?.host ?? ''
}
