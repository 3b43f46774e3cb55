import { queryPostgres } from '../harness/postgres-client.ts'
import type { PostgresServer } from '../harness/postgres-server.ts'
import { pause } from '../harness/until.ts'
import type { Span } from './plan.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface DatabaseFaultsOptions {
  postgres: PostgresServer
  random: SeededRandom
  /** writes an event into the log */
  logEvent: (event: string) => void
}

/** A long outage is longer than a request waits for an unavailable database. */
const outageMs = { short: [0, 2_500], long: [5_500, 8_000] } satisfies Record<string, Span>
const longShare = 0.3

/** Faults of the PostgreSQL that all instances share. */
export class DatabaseFaults {
  readonly counts = new Map<string, number>()
  readonly #options: DatabaseFaultsOptions
  /** ms since the epoch; infinite while it is unavailable. */
  #lastFaultAt = 0

  constructor (options: DatabaseFaultsOptions) {
    this.#options = options
  }

  /** Whether a connection may have failed or been lost since that time (ms since the epoch). */
  hasOccurredSince (time: number): boolean {
    return this.#lastFaultAt >= time
  }

  /** Stops PostgreSQL in order or lets it crash, and starts it again after a while. It runs when this resolves, also after an abort. */
  async restart (mode: 'fast' | 'immediate', signal: AbortSignal): Promise<void> {
    const { postgres, random, logEvent } = this.#options
    this.#count(`PostgreSQL restarted (${mode})`)
    this.#lastFaultAt = Infinity
    logEvent(`PostgreSQL stops: ${mode}`)
    await postgres.halt(mode)
    await pause(random.between(...outageMs[random.happens(longShare) ? 'long' : 'short']), signal)
    await postgres.resume()
    this.#lastFaultAt = Date.now()
    logEvent('PostgreSQL runs again')
  }

  /** Ends some or all of the connections of the service. */
  async cutConnections (): Promise<void> {
    const share = this.#options.random.pick([0.2, 0.5, 1])
    const cut = await queryPostgres(this.#options.postgres.url, `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'dreamreel' and random() < $1`, [share])
    this.#lastFaultAt = Date.now()
    this.#count('connections cut', cut.length)
    this.#options.logEvent(`${cut.length} connections cut`)
  }

  #count (name: string, times = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + times)
  }
}
