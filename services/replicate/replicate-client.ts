import type { CallLimiter } from '../rate-limit/call-limiter.ts'
import { replicateAnswerUnusable, type ReplicateCall } from '../telemetry/channels.ts'
import { predictionsPath } from './models.ts'
import {
  parseAccountOutcome, parseCreateOutcome, parseListOutcome, parseReadOutcome, parseSecretOutcome, unavailable,
  type AccountOutcome, type CreateOutcome, type ListOutcome, type ReadOutcome, type SecretOutcome
} from './outcomes.ts'
import { isPredictionId } from './prediction.ts'
import { failureFromError, isSuccessStatus, type UpstreamFailure } from './replicate-failure.ts'
import { ReplicateTransport, type ReplicateTransportOptions } from './replicate-transport.ts'

export interface CreateRequest {
  /** `owner/name` or `owner/name:version` */
  model: string
  input: Record<string, unknown>
  /** seconds from the creation after which Replicate ends the prediction; less than 5, Replicate's minimum, counts as 5 */
  cancelAfterSeconds: number
  /** called when the prediction starts, and when it has ended */
  webhook?: string | undefined
}

export interface ListQuery {
  /** ms since the epoch, both */
  createdAfter?: number | undefined
  createdBefore?: number | undefined
  /** the `next` of an earlier page; the other members are ignored then */
  cursor?: string | undefined
}

export interface CallOptions { signal?: AbortSignal | undefined }
export interface CreateOptions extends CallOptions {
  /** ms to wait for the response; never longer than the client's own limit for creates */
  timeoutMs?: number | undefined
  /** Called once, right before the first byte leaves; with false nothing is sent. */
  shouldSend?: (() => boolean) | undefined
}

/** Replicate's API. Every failure of the network or the provider is an outcome; only wrong arguments throw. */
export interface ReplicateClient {
  /** Sent at once: the caller has acquired `creates` before, and releases it afterwards. */
  create (request: CreateRequest, options?: CreateOptions): Promise<CreateOutcome>
  /** The limiter of creates. The client does not acquire it, but reports what the responses to creates say of the limit. */
  readonly creates: CallLimiter
  /** The limiter of all other calls, which the client acquires itself. */
  readonly reads: CallLimiter
  get (id: string, options?: CallOptions): Promise<ReadOutcome>
  /** One page, newest first. An item that is no prediction is left out. */
  list (query: ListQuery, options?: CallOptions): Promise<ListOutcome>
  /** The prediction as it is after the cancel. */
  cancel (id: string, options?: CallOptions): Promise<ReadOutcome>
  /** Whether Replicate answers and accepts our token. */
  account (options?: CallOptions): Promise<AccountOutcome>
  /** The secret that the account's webhooks are signed with, `whsec_…`. */
  webhookSecret (options?: CallOptions): Promise<SecretOutcome>
  /** Takes no more calls, waits for those under way as long as they may take, and closes all connections. */
  close (): Promise<void>
}

const minCancelAfterSeconds = 5

export function createReplicateClient (options: ReplicateTransportOptions): ReplicateClient {
  const api = new URL(options.apiUrl)
  const base = api.pathname.replace(/\/+$/, '')
  const transport = new ReplicateTransport(options)
  return {
    creates: options.creates,
    reads: options.reads,
    async create (request, callOptions = {}) {
      return report('create', parseCreateOutcome(await transport.create({ ...createCall(base, request), ...callOptions })))
    },
    async get (id, { signal } = {}) {
      return report('get', parseReadOutcome(id, await transport.call('get', predictionPath(base, id), signal)))
    },
    async cancel (id, { signal } = {}) {
      return report('cancel', parseReadOutcome(id, await transport.call('cancel', `${predictionPath(base, id)}/cancel`, signal)))
    },
    async list (query, { signal } = {}) {
      const path = query.cursor === undefined ? listPath(base, query) : cursorPath(api, base, query.cursor)
      if (path === undefined) return unavailable(failureFromError(new Error('The next page is not at our API’s address')))
      return report('list', parseListOutcome(await transport.call('list', path, signal)))
    },
    async account ({ signal } = {}) {
      return report('account', parseAccountOutcome(await transport.call('account', `${base}/account`, signal)))
    },
    async webhookSecret ({ signal } = {}) {
      return report('webhook_secret', parseSecretOutcome(await transport.call('webhook_secret', `${base}/webhooks/default/secret`, signal)))
    },
    close: () => transport.close()
  }
}

/** Publishes that an answer was a success by its status and is of no use. */
function report<T extends { outcome: string, failure?: UpstreamFailure }> (call: ReplicateCall, outcome: T): T {
  const { failure } = outcome
  if (replicateAnswerUnusable.hasSubscribers && failure !== undefined && isSuccessStatus(failure.status)) replicateAnswerUnusable.publish({ call })
  return outcome
}

function createCall (base: string, { model, input, webhook, cancelAfterSeconds }: CreateRequest) {
  const { path, version } = predictionsPath(model)
  const body = JSON.stringify({
    ...(version === undefined ? {} : { version }),
    input,
    ...(webhook === undefined ? {} : { webhook, webhook_events_filter: ['start', 'completed'] })
  })
  return { path: base + path, body, cancelAfterSeconds: Math.max(minCancelAfterSeconds, Math.floor(cancelAfterSeconds)) }
}

function predictionPath (base: string, id: string): string {
  if (!isPredictionId(id)) throw new TypeError('That is not the id of a prediction')
  return `${base}/predictions/${id}`
}

function listPath (base: string, { createdAfter, createdBefore }: ListQuery): string {
  const query = new URLSearchParams()
  if (createdAfter !== undefined) query.set('created_after', new Date(createdAfter).toISOString())
  if (createdBefore !== undefined) query.set('created_before', new Date(createdBefore).toISOString())
  return `${base}/predictions${query.size > 0 ? `?${query}` : ''}`
}

/** The `next` of a page is an address from outside: it is followed only where it is the list of our own API. */
function cursorPath (api: URL, base: string, cursor: string): string | undefined {
  const url = URL.parse(cursor)
  const isOurs = url?.origin === api.origin && url.pathname === `${base}/predictions` && url.username + url.password === ''
  return isOurs ? url.pathname + url.search : undefined
}
