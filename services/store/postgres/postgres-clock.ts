import type { Log } from '../../runtime/log.ts'
import { SteadyClock } from '../../runtime/steady-clock.ts'
import type { PostgresDatabase } from './postgres-database.ts'

const measureIntervalMs = 30_000
/** A slower measurement is too inaccurate: the database may have read its clock at any moment of the round trip. */
const maxRoundTripMs = 500
/** A clock of this machine that differs by more is logged as a warning. */
const largeSkewMs = 5_000

/**
 * The clock of the database, which all instances share. Between two measurements it advances with the monotonic clock of
 * this process, so the wall clock of this machine does not matter.
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
    if (Math.abs(skewS) * 1_000 > largeSkewMs) log.warn({ skew_s: skewS }, 'The clock of this machine differs from the clock of the database; all times are taken from the database')
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
      .catch((err: unknown) => this.#log.debug({ err }, 'Could not read the clock of the database; the last measurement stays in use'))
      .finally(() => { this.#measuring = undefined })
  }
}

/** @returns in ms, the clock of the database minus the monotonic clock, and the duration of the query */
async function measure (database: PostgresDatabase): Promise<{ offsetMs: number, roundTripMs: number }> {
  const startedAt = performance.now()
  const [row] = await database.query('select extract(epoch from clock_timestamp()) * 1000 as ms')
  const roundTripMs = performance.now() - startedAt
  return { offsetMs: Number(row?.ms) - startedAt - roundTripMs / 2, roundTripMs }
}
