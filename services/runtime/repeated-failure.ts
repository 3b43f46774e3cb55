import type { Log } from './log.ts'

/** Logs the first of several failures in a row as a warning, the others only for debugging, and the success that ends them. */
export class RepeatedFailure {
  #log
  #messages
  #isFailing = false

  constructor (log: Log, messages: { failed: string, succeeded: string }) {
    this.#log = log
    this.#messages = messages
  }

  /** @param details further members of the line */
  failed (err: unknown, details: object = {}): void {
    if (this.#isFailing) this.#log.debug({ err, ...details }, this.#messages.failed)
    else this.#log.warn({ err, ...details }, this.#messages.failed)
    this.#isFailing = true
  }

  succeeded (): void {
    if (this.#isFailing) this.#log.info({}, this.#messages.succeeded)
    this.#isFailing = false
  }
}
