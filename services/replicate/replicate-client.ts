import { setTimeout as delay } from 'node:timers/promises'
import { Pool } from 'undici'
import packageJson from '../../package.json' with { type: 'json' }
import type { CallLimiter } from '../rate-limit/call-limiter.ts'
import { exchange, type Exchange, type ExchangeRequest } from '../net/http-exchange.ts'
import { predictionsPath } from './models.ts'
import { isPredictionId } from './prediction.ts'
import {
  parseAccountOutcome, parseListOutcome, parseCreateOutcome, parseReadOutcome, parseSecretOutcome, unavailable,
  type AccountOutcome, type CallOutcome, type CreateOutcome, type ListOutcome, type ReadOutcome, type SecretOutcome
} from './outcomes.ts'
import type { ProviderClock } from './provider-clock.ts'
import { createRedactor } from '../runtime/redact-secrets.ts'
import { failureFromError, isSuccess, parseRateLimit, type UpstreamFailure } from './replicate-failure.ts'

export interface ReplicateClientOptions {
  /** the API's base address, its version included, like https://api.replicate.com/v1 */
  apiUrl: string
  /** goes to the origin of `apiUrl` and nowhere else */
  apiToken: string
  connectTimeoutMs: number
  /** for a create as a whole, from the call to the last byte of its answer */
  createTimeoutMs: number
  /** the same for every other call */
  readTimeoutMs: number
  /** a longer body breaks the call */
  maxResponseBytes: number
  /** the budgets: creates have theirs, everything else waits for its turn at `reads` */
  creates: CallLimiter
  reads: CallLimiter
  /** learns from the date of every answer */
  clock: ProviderClock
}

export interface CreateRequest {
  /** `owner/name` or `owner/name:version` */
  model: string
  input: Record<string, unknown>
  /** seconds from the creation, after which Replicate ends the prediction; less than 5 counts as 5, its least */
  cancelAfterSeconds: number
  /** called when the prediction starts, and when it has ended */
  webhook?: string | undefined
}

export interface ListQuery {
  /** ms since the epoch, both */
  createdAfter?: number | undefined
  createdBefore?: number | undefined
  /** the `next` of an earlier page; the other members do not count then */
  cursor?: string | undefined
}

export interface CallOptions { signal?: AbortSignal | undefined }
export interface CreateOptions extends CallOptions {
  /** ms to wait for the answer; never longer than the client's own limit for creates */
  timeoutMs?: number | undefined
  /** Asked once, right before the first byte leaves. */
  shouldSend?: (() => boolean) | undefined
}

/** Replicate's API. Whatever the network or the provider does is an outcome; only a fault of the caller's throws. */
export interface ReplicateClient {
  /** Sent at once: whoever calls it has had its turn at `creates`. */
  create (request: CreateRequest, options?: CreateOptions): Promise<CreateOutcome>
  /** Holds no call up by itself; hears what the answers to creates say. */
  readonly creates: CallLimiter
  get (id: string, options?: CallOptions): Promise<ReadOutcome>
  /** One page, newest first. An item that is no prediction is left out. */
  list (query: ListQuery, options?: CallOptions): Promise<ListOutcome>
  /** The prediction as it is after the cancel. */
  cancel (id: string, options?: CallOptions): Promise<ReadOutcome>
  /** Whether Replicate answers, and takes our token. */
  account (options?: CallOptions): Promise<AccountOutcome>
  /** What webhooks of this account are signed with, `whsec_…`. */
  webhookSecret (options?: CallOptions): Promise<SecretOutcome>
  /** Takes no more calls, waits for those under way as long as they may take, and closes all connections. */
  close (): Promise<void>
}

const minCancelAfterSeconds = 5
/** Calls beyond wait for a connection, within their time. */
const maxConnections = 128
/**
 * Idle connections are dropped sooner than servers do it (5 s is the shortest usual), or than the server says: a
 * create on a connection that is being closed is one more create of which nobody knows whether it arrived.
 */
const keepAlive = { keepAliveTimeout: 4_000, keepAliveMaxTimeout: 4_000, keepAliveTimeoutThreshold: 2_000 }

export function createReplicateClient (options: ReplicateClientOptions): ReplicateClient {
  const { apiToken, connectTimeoutMs, createTimeoutMs, readTimeoutMs, maxResponseBytes, creates, reads, clock } = options
  const api = new URL(options.apiUrl)
  const base = api.pathname.replace(/\/+$/, '')
  // Plain HTTP/1.1, one request on a connection at a time: a connection that breaks takes one call with it, and no
  // call is ever moved to another connection once it is sent. No interceptors: nothing is repeated or redirected.
  const pool = new Pool(api.origin, {
    ...keepAlive,
    connections: maxConnections,
    pipelining: 1,
    allowH2: false,
    connect: { timeout: connectTimeoutMs },
    maxResponseSize: maxResponseBytes
  })
  const headers = {
    authorization: `Bearer ${apiToken}`,
    accept: 'application/json',
    'user-agent': `dreamreel/${packageJson.version}`
  }
  const redact = createRedactor([apiToken])
  let closing: Promise<void> | undefined

  async function create (request: CreateRequest, { signal, shouldSend, timeoutMs = createTimeoutMs }: CreateOptions = {}): Promise<CreateOutcome> {
    const { path, version } = predictionsPath(request.model)
    const cancelAfter = Math.max(minCancelAfterSeconds, Math.floor(request.cancelAfterSeconds))
    const sent = await exchangeHeard(creates, {
      method: 'POST',
      path: base + path,
      headers: { ...headers, 'content-type': 'application/json', 'cancel-after': `${cancelAfter}s` },
      body: createBody(request, version),
      timeoutMs: Math.min(timeoutMs, createTimeoutMs),
      signal,
      shouldSend
    })
    return parseCreateOutcome(sent)
  }

  /** Calls that may be made twice: all but the create. */
  async function call (method: ExchangeRequest['method'], path: string, { signal }: CallOptions = {}): Promise<CallOutcome> {
    try {
      await reads.acquire(signal)
    } catch {
      return unavailable(notWaited())
    }
    try {
      const sent = await exchangeHeard(reads, { method, path, headers, timeoutMs: readTimeoutMs, signal })
      switch (sent.outcome) {
        case 'answered': return sent
        case 'failed': return unavailable(failureFromError(sent.error))
        case 'withdrawn': return unavailable(notWaited())
      }
    } finally {
      reads.release()
    }
  }

  async function exchangeHeard (limiter: CallLimiter, request: ExchangeRequest): Promise<Exchange> {
    const sentAt = performance.now()
    const sent = await exchange(pool, request)
    if (sent.outcome !== 'answered') return sent
    clock.observe(sent.response.headers.date, { sentAt, receivedAt: performance.now() })
    limiter.observe(parseRateLimit(sent.response))
    // Before the words are cut to their length: what is left of a token would not be recognised.
    return isSuccess(sent.response) ? sent : { ...sent, response: { ...sent.response, body: redact(sent.response.body) } }
  }

  async function get (id: string, callOptions?: CallOptions): Promise<ReadOutcome> {
    return parseReadOutcome(id, await call('GET', predictionPath(id), callOptions))
  }

  async function cancel (id: string, callOptions?: CallOptions): Promise<ReadOutcome> {
    return parseReadOutcome(id, await call('POST', `${predictionPath(id)}/cancel`, callOptions))
  }

  async function list (query: ListQuery, callOptions?: CallOptions): Promise<ListOutcome> {
    const path = query.cursor === undefined ? listPath(query) : cursorPath(query.cursor)
    if (path === undefined) return unavailable(failureFromError(new Error('The next page is not at our API’s address')))
    return parseListOutcome(await call('GET', path, callOptions))
  }

  async function account (callOptions?: CallOptions): Promise<AccountOutcome> {
    return parseAccountOutcome(await call('GET', `${base}/account`, callOptions))
  }

  async function webhookSecret (callOptions?: CallOptions): Promise<SecretOutcome> {
    return parseSecretOutcome(await call('GET', `${base}/webhooks/default/secret`, callOptions))
  }

  function predictionPath (id: string): string {
    if (!isPredictionId(id)) throw new TypeError('That is no id of a prediction')
    return `${base}/predictions/${id}`
  }

  function listPath ({ createdAfter, createdBefore }: ListQuery): string {
    const query = new URLSearchParams()
    if (createdAfter !== undefined) query.set('created_after', new Date(createdAfter).toISOString())
    if (createdBefore !== undefined) query.set('created_before', new Date(createdBefore).toISOString())
    return `${base}/predictions${query.size > 0 ? `?${query}` : ''}`
  }

  /** A page's `next` is an address that came from outside: it is followed only where it is the list of our own API. */
  function cursorPath (cursor: string): string | undefined {
    const url = URL.parse(cursor)
    const isOurs = url?.origin === api.origin && url.pathname === `${base}/predictions` && url.username + url.password === ''
    return isOurs ? url.pathname + url.search : undefined
  }

  async function shut (): Promise<void> {
    const done = new AbortController()
    const longestCall = delay(Math.max(createTimeoutMs, readTimeoutMs), undefined, { signal: done.signal }).catch(() => undefined)
    await Promise.race([pool.close(), longestCall])
    done.abort()
    await pool.destroy()
  }

  function close (): Promise<void> {
    closing ??= shut()
    return closing
  }

  return { create, creates, get, list, cancel, account, webhookSecret, close }
}

function notWaited (): UpstreamFailure {
  return failureFromError(new Error('The caller did not wait for the answer'))
}

function createBody ({ input, webhook }: CreateRequest, version: string | undefined): string {
  return JSON.stringify({
    ...(version === undefined ? {} : { version }),
    input,
    ...(webhook === undefined ? {} : { webhook, webhook_events_filter: ['start', 'completed'] })
  })
}
