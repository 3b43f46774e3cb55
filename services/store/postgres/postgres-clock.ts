import type { Log } from '../../runtime/log.ts'
import type { PostgresDatabase } from './postgres-database.ts'
import { SteadyClock } from '../../runtime/steady-clock.ts'

const measureIntervalMs = 30_000
/** A measurement that took longer says too little: the answer may have been written at any moment of it. */
const maxRoundTripMs = 500
/** A clock of this machine that is further off is worth a line in the log. */
const largeSkewMs = 5_000

/**
 * The clock of the database, which all instances share. It runs with the monotonic clock of this process between
 * measurements, so the clock of this machine does not matter.
 */
export class PostgresClock {
  readonly #database
  readonly #log
  #offsetMs
  #timer: NodeJS.Timeout
  #measuring: Promise<void> | undefined
  readonly #clock

  /** @throws StoreUnavailableError */
  static async start (database: PostgresDatabase, log: Log): Promise<PostgresClock> {
    const { offsetMs } = await measure(database)
    const skewS = Math.round((Date.now() - performance.now() - offsetMs) / 1_000)
    if (Math.abs(skewS) * 1_000 > largeSkewMs) log.warn({ skew_s: skewS }, 'The clock of this machine differs from that of the database; times are by the database')
    return new PostgresClock(database, log, offsetMs)
  }

  private constructor (database: PostgresDatabase, log: Log, offsetMs: number) {
    this.#database = database
    this.#log = log
    this.#offsetMs = offsetMs
    this.#clock = new SteadyClock(() => performance.now() + this.#offsetMs)
    this.#timer = setInterval(() => this.#measureAgain(), measureIntervalMs).unref()
  }

  /** ms since the epoch */
  readonly now = (): number => this.#clock.now()

  async close (): Promise<void> {
    clearInterval(this.#timer)
    await this.#measuring
  }

  #measureAgain (): void {
    this.#measuring ??= measure(this.#database)
      .then(({ offsetMs, roundTripMs }) => { if (roundTripMs <= maxRoundTripMs) this.#offsetMs = offsetMs })
      .catch((err: unknown) => this.#log.debug({ err }, 'The clock of the database could not be read; it runs on'))
      .finally(() => { this.#measuring = undefined })
  }
}

/** @returns the database's clock minus the monotonic one, and how long the question took, in ms */
async function measure (database: PostgresDatabase): Promise<{ offsetMs: number, roundTripMs: number }> {
  const askedAt = performance.now()
  const [row] = await database.query('select extract(epoch from clock_timestamp()) * 1000 as ms')
  const roundTripMs = performance.now() - askedAt
  return { offsetMs: Number(row?.ms) - askedAt - roundTripMs / 2, roundTripMs }
}
