import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { ReplicateClient } from './replicate-client.ts'
import { isSigned, readSignature } from './webhook-signature.ts'

export interface ReplicateWebhooksOptions {
  /** Where Replicate reaches this service, without a slash at its end; null where it is not asked to report. */
  publicUrl: string | null
  /** `whsec_…`; asked of Replicate's API where it is undefined */
  secret: string | undefined
  replicate: ReplicateClient
  log: Log
}

/** `unverifiable`: what it is signed with is not known yet. */
export type WebhookVerdict = 'authentic' | 'forged' | 'unverifiable'

/** By lower-case name. */
export type WebhookHeaders = Record<string, string | string[] | undefined>

const retry = { firstMs: 1_000, maxMs: 60_000 }
/** An account's secret can be changed: a signature that does not fit is a reason to ask again, but not each one. */
const minRefetchMs = 60_000

/** Replicate's reports of predictions that have ended: where they are to be sent, and whether one is Replicate's. */
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

  /** Where Replicate reports the end of the task's prediction; null where it is not asked to. */
  urlFor (taskId: string): string | null {
    const { publicUrl } = this.#options
    return publicUrl === null ? null : `${publicUrl}/webhooks/replicate/${taskId}`
  }

  /** Asks for the secret where it is not given, until it is known. */
  start (): void {
    if (this.isEnabled && this.#secret === undefined) this.#fetchSecret()
  }

  async stop (): Promise<void> {
    this.#stopping.abort(new Error('The instance is stopping'))
    await this.#fetching
  }

  /** What can be said before the body has come; undefined where the body has to be seen. */
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
        if (!this.#stopping.signal.aborted) this.#options.log.error({ err }, 'Could not ask for the secret of webhooks')
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
      if (attempt === 0) log.warn({ provider_status: answer.failure.status }, 'Replicate does not tell the secret of its webhooks; they wait')
      await wait(backoffDelay(attempt, retry), signal)
    }
  }
}
