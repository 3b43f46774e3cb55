import { burstMs, emissionIntervalMs, type Reservation, type CallBudget } from '../../rate-limit/call-budget.ts'
import type { CallKind } from '../task-store.ts'
import type { PostgresDatabase } from './postgres-database.ts'

/** One budget for all instances, by the clock of the database, in a row of `call_budget`. */
export class PostgresCallBudget implements CallBudget {
  #database
  #kind
  #emissionIntervalMs

  constructor (database: PostgresDatabase, kind: CallKind, perMinute: number) {
    this.#database = database
    this.#kind = kind
    this.#emissionIntervalMs = emissionIntervalMs(perMinute)
  }

  async reserve (maxCalls: number): Promise<Reservation> {
    const [row] = await this.#database.query(`with before as (
        select kind, greatest(tat, clock_timestamp() - $2 * interval '1 ms') as first, paused_until from call_budget where kind = $1 for update
      ), taken as (
        update call_budget set tat = before.first + $3 * interval '1 ms'
        from before where call_budget.kind = before.kind and before.paused_until <= clock_timestamp() returning 1
      ) select exists (select from taken) as taken, ${msFromNow('first')} as first_ms, ${msFromNow('paused_until')} as paused_ms from before`,
    [this.#kind, burstMs, maxCalls * this.#emissionIntervalMs])
    if (row === undefined) throw new Error(`There is no budget of calls named ${this.#kind}`)
    return row.taken === true
      ? { calls: maxCalls, waitMs: Number(row.first_ms), emissionIntervalMs: this.#emissionIntervalMs }
      : { calls: 0, waitMs: Number(row.paused_ms), emissionIntervalMs: this.#emissionIntervalMs }
  }

  async pause (ms: number): Promise<void> {
    await this.#database.query("update call_budget set paused_until = greatest(paused_until, clock_timestamp() + $2 * interval '1 ms') where kind = $1",
      [this.#kind, ms])
  }
}

function msFromNow (column: string): string {
  return `extract(epoch from (greatest(${column}, '2000-01-01') - clock_timestamp())) * 1000`
}
