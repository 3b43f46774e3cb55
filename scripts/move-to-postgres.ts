import { inspect } from 'node:util'
import { readConfig, collectSecrets } from '../config.ts'
import { createRedactor } from '../services/runtime/redact-secrets.ts'
import { StartError } from '../services/runtime/start-error.ts'
import { importTasks, importKeys } from '../services/store/postgres/import-tasks.ts'
import { openPostgres, type PostgresDatabase } from '../services/store/postgres/postgres-database.ts'
import { sqliteResultCode } from '../services/store/sqlite/sqlite-database.ts'
import { openTaskFolder, type TaskFolder } from '../services/store/sqlite/task-folder.ts'
import { StoreUnavailableError } from '../services/store/store-errors.ts'
import { isOpen, type Task } from '../services/tasks/task.ts'

/**
 * Copies the tasks of DATA_DIR into the PostgreSQL of DATABASE_URL, where work on open tasks continues at once. If it was
 * interrupted, run it again: it copies the missing tasks and does not change those that are already in PostgreSQL.
 */
const batchSize = 500
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }

try {
  const { dataDir, databaseUrl } = readSettings()
  const folder = openTaskFolder(dataDir)
  const database = await openPostgres({ databaseUrl, log })
  report(dataDir, await moveAll(folder, database).finally(() => database.close()))
  folder.close()
} catch (error) {
  console.error(createRedactor(collectSecrets(process.env))(toMessage(error)))
  // An open database must not keep the process running.
  process.exit(1)
}

/** Needs no other setting of the service. */
function readSettings (): { dataDir: string, databaseUrl: string } {
  const { DATA_DIR, DATABASE_URL } = process.env
  const config = readConfig({ REPLICATE_API_TOKEN: 'none', DATA_DIR, DATABASE_URL })
  if (config.DATABASE_URL === undefined) throw new StartError('DATABASE_URL must name the PostgreSQL that the tasks are moved to')
  return { dataDir: config.DATA_DIR, databaseUrl: config.DATABASE_URL }
}

interface MoveSummary { imported: number, open: number, existing: number, conflicting: Task[] }

async function moveAll (folder: TaskFolder, database: PostgresDatabase): Promise<MoveSummary> {
  const summary: MoveSummary = { imported: 0, open: 0, existing: 0, conflicting: [] }
  const deliveries = folder.deliveries(Date.now())
  for (const batch of folder.tasks(batchSize)) {
    const { imported, existing, conflicting } = await importTasks(batch, deliveries, database)
    summary.imported += imported.length
    summary.open += imported.filter(isOpen).length
    summary.existing += existing.length
    summary.conflicting.push(...conflicting)
  }
  // A client that repeats a request after the move gets the task of its first request.
  for (const batch of folder.keys(batchSize)) await importKeys(batch, database)
  return summary
}

function report (dataDir: string, { imported, open, existing, conflicting }: MoveSummary): void {
  console.log(`Moved ${imported} tasks of ${dataDir} to PostgreSQL, ${open} of them open; ${existing} were there before.`)
  if (conflicting.length > 0) {
    const ids = conflicting.map(({ id }) => id).join(', ')
    throw new StartError(`${conflicting.length} tasks were not moved, because another task in PostgreSQL has their prediction: ${ids}`)
  }
  console.log('From now on, start the service with DATABASE_URL. Without it, the service would work on the open tasks of the folder a second time.')
}

function toMessage (error: unknown): string {
  if (error instanceof StartError) return error.message
  if (error instanceof StoreUnavailableError) return `The tasks could not be copied to PostgreSQL (${errorText(error.cause)}). Run this again: it copies the tasks that are missing.`
  return sqliteResultCode(error) === undefined ? inspect(error) : `The database in DATA_DIR cannot be read: ${errorText(error)}`
}

function errorText (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
