import type { WindowCount, WindowCounter } from '../../rate-limit/window-counter.ts'
import type { PostgresDatabase } from './postgres-database.ts'

/** A request does not wait longer than this for the count; it waits for nothing at all for a while after that. */
const timeoutMs = 2_000
const pauseMs = 5_000

/** Counts by the clock of the database, in the table `request_count`. */
export class PostgresWindowCounter implements WindowCounter {
  #database
  #pausedUntil = -Infinity

  constructor (database: PostgresDatabase) {
    this.#database = database
  }

  async add (key: string, points: number, windowMs: number): Promise<WindowCount> {
    if (performance.now() < this.#pausedUntil) throw new Error('The last query of the requests of all instances has failed')
    try {
      return await this.#add(key, points, windowMs)
    } catch (error) {
      this.#pausedUntil = performance.now() + pauseMs
      throw error
    }
  }

  async #add (key: string, points: number, windowMs: number): Promise<WindowCount> {
    const [row] = await this.#database.queryOnce(`insert into request_count as old (key, points, ends_at) values ($1, $2, now() + $3 * interval '1 ms')
      on conflict (key) do update set
        points = excluded.points + case when ${isUnderWay} then old.points else 0 end,
        ends_at = case when ${isUnderWay} then old.ends_at else excluded.ends_at end
      returning points, extract(epoch from (ends_at - now())) * 1000 as reset_ms`, [key, points, windowMs], timeoutMs)
    if (row === undefined) throw new Error('A count of requests was not stored')
    return { points: Number(row.points), resetMs: Math.max(Number(row.reset_ms), 0) }
  }
}

/**
 * A window that ends much later than a new one would was stored before the clock of the database was set back. One that ends a little
 * later was begun by a statement that this one has waited for: `now()` is the time when a statement began.
 */
const isUnderWay = "old.ends_at > now() and old.ends_at <= excluded.ends_at + interval '5 s'"

/** Deletes the windows that are over. */
export async function deleteEndedWindows ({ query }: PostgresDatabase): Promise<void> {
  await query('delete from request_count where ends_at <= now()')
}
