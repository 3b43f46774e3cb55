import type { Log } from '../../runtime/log.ts'

export interface DatabaseOutageLogOptions {
  log: Log
  /** ms, on a clock that only goes forward */
  now: () => number
}

/** Connections that broke together are noticed one after another, and a failing job engine reports an error every few seconds. */
const quietMs = 5_000

/** Logs once for each outage that the database is unavailable, and once that it is available again. */
export class DatabaseOutageLog {
  #options
  /** The error messages of the current outage that have been logged. */
  #loggedMessages = new Set<string>()
  #lastFailureAt = -Infinity

  constructor (options: DatabaseOutageLogOptions) {
    this.#options = options
  }

  recordFailure (err: Error): void {
    this.#lastFailureAt = this.#options.now()
    if (this.#loggedMessages.has(err.message)) return
    this.#loggedMessages.add(err.message)
    this.#options.log.warn({ err }, 'The database is unavailable, or the job engine failed')
  }

  /** Call it after a successful query. The outage is over if there was no failure for a while either. */
  recordSuccess (): void {
    if (this.#loggedMessages.size === 0 || this.#options.now() - this.#lastFailureAt < quietMs) return
    this.#loggedMessages.clear()
    this.#options.log.info({}, 'The database is available again')
  }
}
