import type { Log } from '../runtime/log.ts'

/** Logs the first of several failures in a row, and the success that ends them. */
export class RepeatedFailure {
  #log
  #messages
  #isFailing = false

  constructor (log: Log, messages: { failed: string, succeeded: string }) {
    this.#log = log
    this.#messages = messages
  }

  failed (err: unknown): void {
    if (this.#isFailing) this.#log.debug({ err }, this.#messages.failed)
    else this.#log.warn({ err }, this.#messages.failed)
    this.#isFailing = true
  }

  succeeded (): void {
    if (this.#isFailing) this.#log.info({}, this.#messages.succeeded)
    this.#isFailing = false
  }
}
