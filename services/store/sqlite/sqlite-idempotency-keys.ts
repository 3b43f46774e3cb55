import type { DatabaseSync } from 'node:sqlite'
import { keyTtlMs, type IdempotentRequest, type KeyRow } from '../idempotency-key.ts'

/** The table `idempotency_key`. */
export class SqliteIdempotencyKeys {
  #statements

  constructor (database: DatabaseSync) {
    this.#statements = {
      find: database.prepare('select * from idempotency_key where scope = ? and key = ?'),
      insert: database.prepare("insert into idempotency_key (scope, key, fingerprint, task_id, code, created_at) select ?1 ->> 'scope', ?1 ->> 'key', ?1 ->> 'fingerprint', ?1 ->> 'task_id', ?1 ->> 'code', ?1 ->> 'created_at'"),
      removeExpired: database.prepare('delete from idempotency_key where created_at <= ?')
    }
  }

  find ({ scope, key }: IdempotentRequest): KeyRow | undefined {
    const row = this.#statements.find.get(scope, key)
    return row && asKeyRow(row)
  }

  insert (row: KeyRow): void {
    this.#statements.insert.run(JSON.stringify(row))
  }

  /** @param now ms since the epoch */
  removeExpired (now: number): void {
    this.#statements.removeExpired.run(now - keyTtlMs)
  }
}

/** The boundary where a row becomes typed: the table is `strict`, and only this file writes to it. */
export function asKeyRow (row: unknown): KeyRow {
  return row as KeyRow
}
