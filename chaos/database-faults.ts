import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Chance } from './seeded-random.ts'
import type { Span } from './plan.ts'
import type { PostgresServer } from '../harness/postgres-server.ts'

export interface DatabaseTroubleOptions {
  postgres: PostgresServer
  chance: Chance
  /** Writes an event into the log. */
  tell: (event: string) => void
}

/** Longer than a request waits for a database that is away, now and then. */
const awayFor = { usually: [0, 2_500], long: [5_500, 8_000] } satisfies Record<string, Span>
const longShare = 0.3

/** What happens to the PostgreSQL that all instances share. */
export class DatabaseTrouble {
  readonly counts = new Map<string, number>()
  readonly #options: DatabaseTroubleOptions
  /** ms since the epoch; infinite while it is away. */
  #lastTroubleAt = 0

  constructor (options: DatabaseTroubleOptions) {
    this.#options = options
  }

  /** Whether a connection may have failed or been lost since then (ms since the epoch). */
  hasBeenSince (time: number): boolean {
    return this.#lastTroubleAt >= time
  }

  /** Away for a while, after an orderly end or a crash; it is there again when this resolves, whatever the signal says. */
  async restart (mode: 'fast' | 'immediate', signal: AbortSignal): Promise<void> {
    const { postgres, chance, tell } = this.#options
    this.#count(`PostgreSQL restarted (${mode})`)
    this.#lastTroubleAt = Infinity
    tell(`PostgreSQL stops: ${mode}`)
    await postgres.halt(mode)
    await delay(chance.between(...awayFor[chance.happens(longShare) ? 'long' : 'usually']), undefined, { signal }).catch(() => undefined)
    await postgres.resume()
    this.#lastTroubleAt = Date.now()
    tell('PostgreSQL is there again')
  }

  /** Ends a random share of the service's connections, from all of them down to a few. */
  async cutConnections (): Promise<void> {
    const share = this.#options.chance.pick([0.2, 0.5, 1])
    const cut = await ask(this.#options.postgres, `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'dreamreel' and random() < $1`, [share])
    this.#lastTroubleAt = Date.now()
    this.#count('connections cut', cut.length)
    this.#options.tell(`${cut.length} connections cut`)
  }

  #count (name: string, times = 1): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + times)
  }
}

export async function ask ({ url }: PostgresServer, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}
