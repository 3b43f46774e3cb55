import type { Log } from '../../runtime/log.ts'

export interface DatabaseOutageLogOptions {
  log: Log
  /** ms, on a clock that only goes forward */
  now: () => number
}

/** Connections that were cut together are noticed one after another, and a job engine that fails does it every few seconds. */
const quietMs = 5_000

/** Says once that the database is away, and once that it answers again, for each time that it is away. */
export class DatabaseOutageLog {
  #options
  /** What has been said of the present outage. */
  #said = new Set<string>()
  #lastFailureAt = -Infinity

  constructor (options: DatabaseOutageLogOptions) {
    this.#options = options
  }

  recordFailure (err: Error): void {
    this.#lastFailureAt = this.#options.now()
    if (this.#said.has(err.message)) return
    this.#said.add(err.message)
    this.#options.log.warn({ err }, 'The database is away, or the job engine failed at something')
  }

  /** Something was read or written. The outage is over where nothing has failed for a while either. */
  recordSuccess (): void {
    if (this.#said.size === 0 || this.#options.now() - this.#lastFailureAt < quietMs) return
    this.#said.clear()
    this.#options.log.info({}, 'The database answers again')
  }
}
