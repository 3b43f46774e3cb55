import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'
import packageJson from '../../package.json' with { type: 'json' }
import { exchange, type Exchange, type ExchangeRequest } from '../net/http-exchange.ts'
import type { CallLimiter } from '../rate-limit/call-limiter.ts'
import { createRedactor } from '../runtime/redact-secrets.ts'
import { replicateCallEnded, type CallOutcome as CallOutcomeName, type ReplicateCall } from '../telemetry/channels.ts'
import { unavailable, type CallOutcome } from './outcomes.ts'
import type { ProviderClock } from './provider-clock.ts'
import { failureFromError, isSuccess, parseRateLimit, type UpstreamFailure } from './replicate-failure.ts'

export interface ReplicateTransportOptions {
  /** the API's base address, its version included, like https://api.replicate.com/v1 */
  apiUrl: string
  /** sent to the origin of `apiUrl` and nowhere else */
  apiToken: string
  connectTimeoutMs: number
  /** for a create as a whole, from the call to the last byte of its response */
  createTimeoutMs: number
  /** the same for every other call */
  readTimeoutMs: number
  /** A longer body makes the call fail. */
  maxResponseBytes: number
  /** The limiter of creates. The caller of a create acquires and releases it. */
  creates: CallLimiter
  /** The limiter of all other calls. */
  reads: CallLimiter
  /** learns from the date of every response */
  clock: ProviderClock
}

export interface CreateCall extends Pick<ExchangeRequest, 'path' | 'signal' | 'shouldSend'> {
  body: string
  /** seconds, a whole number */
  cancelAfterSeconds: number
  /** never longer than the transport's own limit for creates */
  timeoutMs?: number | undefined
}

/** Calls beyond this number wait for a connection, within their time. */
const maxConnections = 128
/**
 * Idle connections are dropped sooner than servers usually do it (after 5 s at the earliest), or than the server says it
 * will. A create on a connection that the server is closing may or may not have arrived.
 */
const keepAlive = { keepAliveTimeout: 4_000, keepAliveMaxTimeout: 4_000, keepAliveTimeoutThreshold: 2_000 }

/** Sends authenticated requests to Replicate's API and learns its rate limit and its clock from the responses. */
export class ReplicateTransport {
  #options
  #pool
  #headers
  #redact
  #closing: Promise<void> | undefined

  constructor (options: ReplicateTransportOptions) {
    this.#options = options
    // Plain HTTP/1.1 with one request on a connection at a time: a connection that breaks takes one call with it, and no call
    // moves to another connection once it is sent. Without interceptors nothing is repeated or redirected.
    this.#pool = new Pool(new URL(options.apiUrl).origin, {
      ...keepAlive,
      connections: maxConnections,
      pipelining: 1,
      allowH2: false,
      connect: { timeout: options.connectTimeoutMs },
      maxResponseSize: options.maxResponseBytes
    })
    this.#headers = {
      authorization: `Bearer ${options.apiToken}`,
      accept: 'application/json',
      'user-agent': `dreamreel/${packageJson.version}`
    }
    this.#redact = createRedactor([options.apiToken])
  }

  /** Sends a create, once and without waiting for the limiter. */
  async create ({ path, body, cancelAfterSeconds, timeoutMs, signal, shouldSend }: CreateCall): Promise<Exchange> {
    const { creates, createTimeoutMs } = this.#options
    return await this.#exchange('create', creates, {
      method: 'POST',
      path,
      headers: { ...this.#headers, 'content-type': 'application/json', 'cancel-after': `${cancelAfterSeconds}s` },
      body,
      timeoutMs: Math.min(timeoutMs ?? createTimeoutMs, createTimeoutMs),
      signal,
      shouldSend
    })
  }

  /** Makes a call that may be made twice, which a create may not, as soon as the limiter allows it. */
  async call (call: ReplicateCall, path: string, signal: AbortSignal | undefined): Promise<CallOutcome> {
    const { reads, readTimeoutMs } = this.#options
    try {
      await reads.acquire(signal)
    } catch {
      return unavailable(callerLeft())
    }
    try {
      const method = call === 'cancel' ? 'POST' : 'GET'
      const result = await this.#exchange(call, reads, { method, path, headers: this.#headers, timeoutMs: readTimeoutMs, signal })
      switch (result.outcome) {
        case 'answered': return result
        case 'failed': return unavailable(failureFromError(result.error))
        case 'withdrawn': return unavailable(callerLeft())
      }
    } finally {
      reads.release()
    }
  }

  /** Takes no more calls, waits for those under way as long as they may take, and closes all connections. */
  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close (): Promise<void> {
    const { createTimeoutMs, readTimeoutMs } = this.#options
    const done = new AbortController()
    const timeout = delay(Math.max(createTimeoutMs, readTimeoutMs), undefined, { signal: done.signal }).catch(() => undefined)
    await Promise.race([this.#pool.close(), timeout])
    done.abort()
    await this.#pool.destroy()
  }

  async #exchange (call: ReplicateCall, limiter: CallLimiter, request: ExchangeRequest): Promise<Exchange> {
    const sentAt = performance.now()
    const result = await exchange(this.#pool, request)
    if (replicateCallEnded.hasSubscribers) {
      replicateCallEnded.publish({ call, outcome: nameOutcome(result), ms: result.outcome === 'withdrawn' ? null : performance.now() - sentAt })
    }
    if (result.outcome !== 'answered') return result
    const { response } = result
    this.#options.clock.observe(response.headers.date, { sentAt, receivedAt: performance.now() })
    limiter.observe(parseRateLimit(response))
    // The token is redacted before messages are truncated: a truncated token would not be recognised.
    return isSuccess(response) ? result : { ...result, response: { ...response, body: this.#redact(response.body) } }
  }
}

function nameOutcome (result: Exchange): CallOutcomeName {
  if (result.outcome === 'withdrawn') return 'withdrawn'
  if (result.outcome === 'failed') return 'no_answer'
  const { status } = result.response
  if (isSuccess(result.response)) return 'ok'
  if (status === 429) return 'rate_limited'
  return status < 500 ? 'refused' : 'server_error'
}

function callerLeft (): UpstreamFailure {
  return failureFromError(new Error('The caller did not wait for the answer'))
}
