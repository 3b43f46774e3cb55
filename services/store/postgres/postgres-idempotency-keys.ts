import { keyTtlMs, type StoredKey, type KeyRow } from '../idempotency-key.ts'
import type { PostgresDatabase, Row } from './postgres-database.ts'
import type { Database } from './postgres-transaction.ts'

const keyColumns = 'scope, key, fingerprint, task_id, code, created_at'
const storedKeyColumns = `${keyColumns}, exists (select from task where task.id = task_id) as has_task`

/**
 * Stores the keys that are not in use. A key is free again when the request that stored it is older than `keyTtlMs`.
 * @returns for each key what is stored now: the row of this request or of an earlier one
 */
export async function acquireKeys (db: Database, rows: KeyRow[]): Promise<StoredKey[]> {
  // All instances insert in the same order, so that two with the same keys wait for each other and do not deadlock.
  await db.executeSql(`insert into idempotency_key as old (${keyColumns})
    select ${keyColumns} from json_populate_recordset(null::idempotency_key, $1) order by scope, key
    on conflict (scope, key) do update set (fingerprint, task_id, code, created_at) = (excluded.fingerprint, excluded.task_id, excluded.code, excluded.created_at)
    where old.created_at <= excluded.created_at - $2::bigint`, [JSON.stringify(rows), keyTtlMs])
  const { rows: stored } = await db.executeSql(`select ${storedKeyColumns} from idempotency_key
    where (scope, key) in (select scope, key from json_populate_recordset(null::idempotency_key, $1))`, [JSON.stringify(rows)])
  return stored.map(rowToStoredKey)
}

/** Makes keys free again that this transaction has acquired. */
export async function freeKeys (db: Database, rows: KeyRow[]): Promise<void> {
  await db.executeSql(`delete from idempotency_key stored using json_populate_recordset(null::idempotency_key, $1) freed
    where stored.scope = freed.scope and stored.key = freed.key and stored.task_id = freed.task_id`, [JSON.stringify(rows)])
}

/** @returns undefined if the key is not stored */
export async function findKey ({ query }: PostgresDatabase, { scope, key }: Pick<KeyRow, 'scope' | 'key'>): Promise<StoredKey | undefined> {
  const [row] = await query(`select ${storedKeyColumns} from idempotency_key where scope = $1 and key = $2`, [scope, key])
  return row === undefined ? undefined : rowToStoredKey(row)
}

/** The boundary where a row becomes typed. */
function rowToStoredKey (found: Row): StoredKey {
  const { has_task: hasTask, ...row } = found as unknown as KeyRow & { has_task: boolean }
  return { row, hasTask }
}
