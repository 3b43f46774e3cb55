import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { ReplicateClient } from './replicate-client.ts'

export interface AccountCheckOptions {
  replicate: Pick<ReplicateClient, 'account'>
  log: Log
  /** ms between checks while Replicate does not answer */
  retry?: { firstMs: number, maxMs: number }
}

const defaultRetry = { firstMs: 2_000, maxMs: 60_000 }
/** About a minute and a half; after that the first submission shows it. */
const maxChecks = 6

/**
 * Checks once, in the background, whether Replicate accepts the token, so that a wrong one is noticed before the first dream.
 * The check only writes log lines: tasks are accepted in any case, and wait.
 */
export class AccountCheck {
  #options
  #stopping = new AbortController()
  #checking: Promise<void> | undefined

  constructor (options: AccountCheckOptions) {
    this.#options = options
  }

  /** Returns at once. */
  start (): void {
    this.#checking ??= this.#check().catch((err: unknown) => {
      if (!this.#stopping.signal.aborted) this.#options.log.error({ err }, 'Could not check whether Replicate takes REPLICATE_API_TOKEN')
    })
  }

  /** Resolves when the check under way has ended. */
  async stop (): Promise<void> {
    this.#stopping.abort()
    await this.#checking
  }

  async #check (): Promise<void> {
    const { replicate, log, retry = defaultRetry } = this.#options
    const { signal } = this.#stopping
    for (let attempt = 1; ; attempt++) {
      const account = await replicate.account({ signal })
      signal.throwIfAborted()
      if (account.outcome === 'accepted') return log.info({}, 'Replicate takes REPLICATE_API_TOKEN')
      const { status, message } = account.failure
      if (status === 401 || status === 403) {
        return log.error({ provider_status: status }, 'Replicate refuses REPLICATE_API_TOKEN: no video can be made until the service is started with a valid one, from the page “API tokens” of your account')
      }
      if (attempt === 1) log.warn({ provider_status: status, provider_message: message }, 'Replicate cannot be asked whether it takes REPLICATE_API_TOKEN; tasks wait until it answers')
      if (attempt === maxChecks) return log.warn({ provider_status: status, provider_message: message }, 'Replicate still does not say whether it takes REPLICATE_API_TOKEN; this is not asked again')
      await wait(backoffDelay(attempt - 1, retry), signal)
    }
  }
}
