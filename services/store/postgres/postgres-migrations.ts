import { readdirSync, readFileSync } from 'node:fs'
import { inTransaction, type Database } from './postgres-transaction.ts'

const migrationsFolder = new URL('../../../migrations/postgres/', import.meta.url)
/** One advisory lock for all instances that start at the same time; the number is arbitrary. */
const migrationLock = 4_302_007_105

/**
 * Applies each missing `migrations/postgres/NNNN-name.sql`, all of them or none. An instance of an older release may still
 * be running, so from the first release on migrations only add.
 */
export async function migrate (db: Database): Promise<void> {
  await inTransaction(db, async (db) => {
    await db.executeSql('select pg_advisory_xact_lock($1)', [migrationLock])
    await db.executeSql('create table if not exists schema_migration (name text primary key, applied_at timestamptz not null default now())')
    const { rows } = await db.executeSql('select name from schema_migration')
    const applied = new Set(rows.map((row: Record<string, unknown>) => String(row.name)))
    for (const name of readdirSync(migrationsFolder).filter((name) => name.endsWith('.sql') && !applied.has(name)).sort()) {
      await db.executeSql(readFileSync(new URL(name, migrationsFolder), 'utf8'))
      await db.executeSql('insert into schema_migration (name) values ($1)', [name])
    }
  })
}
