import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { ReplicateClient } from './replicate-client.ts'
import { isSigned, readSignature } from './webhook-signature.ts'

export interface ReplicateWebhooksOptions {
  /** Where Replicate reaches this service, without a slash at its end; null without webhooks. */
  publicUrl: string | null
  /** `whsec_…`; read from Replicate's API where it is undefined */
  secret: string | undefined
  replicate: ReplicateClient
  log: Log
}

/** `unverifiable`: the secret is not known yet. */
export type WebhookVerdict = 'authentic' | 'forged' | 'unverifiable'

/** By lower-case name. */
export type WebhookHeaders = Record<string, string | string[] | undefined>

const retry = { firstMs: 1_000, maxMs: 60_000 }
/** The secret of an account can change, so a wrong signature makes us read it again, but not more often than this. */
const minRefetchMs = 60_000

/** The webhooks that report the end of a prediction: their addresses, and whether a request really comes from Replicate. */
export class ReplicateWebhooks {
  #options
  #secret: string | undefined
  #stopping = new AbortController()
  #fetching: Promise<void> | undefined
  #fetchedAt = -Infinity

  constructor (options: ReplicateWebhooksOptions) {
    this.#options = options
    this.#secret = options.secret
  }

  get isEnabled (): boolean {
    return this.#options.publicUrl !== null
  }

  /** The webhook address of a task; null without webhooks. */
  urlFor (taskId: string): string | null {
    const { publicUrl } = this.#options
    return publicUrl === null ? null : `${publicUrl}/webhooks/replicate/${taskId}`
  }

  /** Reads the secret from the API, until it is known, where the configuration has none. */
  start (): void {
    if (this.isEnabled && this.#secret === undefined) this.#fetchSecret()
  }

  async stop (): Promise<void> {
    this.#stopping.abort(new Error('The instance is stopping'))
    await this.#fetching
  }

  /** Refuses a request by its headers, before the body is read; undefined where the body decides. */
  checkHeaders (headers: WebhookHeaders): 'forged' | 'unverifiable' | undefined {
    if (readSignature(headers) === undefined) return 'forged'
    return this.#secret === undefined ? 'unverifiable' : undefined
  }

  /**
   * By Standard Webhooks: a signature over id, time and the raw body, at most 5 minutes old or ahead.
   * @param headers with `webhook-id`, `webhook-timestamp`, `webhook-signature`
   */
  verify (body: Buffer, headers: WebhookHeaders): WebhookVerdict {
    const signature = readSignature(headers)
    if (signature === undefined) return 'forged'
    if (this.#secret === undefined) return 'unverifiable'
    if (isSigned(body, signature, this.#secret)) return 'authentic'
    if (this.#options.secret === undefined && performance.now() - this.#fetchedAt > minRefetchMs) this.#fetchSecret()
    return 'forged'
  }

  #fetchSecret (): void {
    this.#fetching ??= this.#fetchUntilKnown()
      .catch((err: unknown) => {
        if (!this.#stopping.signal.aborted) this.#options.log.error({ err }, 'Could not read the secret of webhooks')
      })
      .finally(() => { this.#fetching = undefined })
  }

  async #fetchUntilKnown (): Promise<void> {
    const { replicate, log } = this.#options
    const { signal } = this.#stopping
    for (let attempt = 0; ; attempt++) {
      this.#fetchedAt = performance.now()
      const answer = await replicate.webhookSecret({ signal })
      signal.throwIfAborted()
      if (answer.outcome === 'found') {
        this.#secret = answer.secret
        return
      }
      if (attempt === 0) log.warn({ provider_status: answer.failure.status }, 'Replicate does not give the secret of its webhooks; they are refused until it does')
      await wait(backoffDelay(attempt, retry), signal)
    }
  }
}
