import { inspect } from 'node:util'
import { readConfig, collectSecrets } from '../config.ts'
import { openPostgres, type PostgresDatabase } from '../services/store/postgres/postgres-database.ts'
import { createRedactor } from '../services/runtime/redact-secrets.ts'
import { sqliteResultCode } from '../services/store/sqlite/sqlite-database.ts'
import { openTaskFolder, type TaskFolder } from '../services/store/sqlite/task-folder.ts'
import { StartError } from '../services/runtime/start-error.ts'
import { isOpen, type Task } from '../services/tasks/task.ts'
import { importTasks, importKeys } from '../services/store/postgres/import-tasks.ts'
import { StoreUnavailableError } from '../services/store/store-errors.ts'

/**
 * Copies the tasks of DATA_DIR into the PostgreSQL of DATABASE_URL, where open ones go on at once. Run again after it was
 * cut short it copies what is missing; what has moved on in PostgreSQL since then stays so.
 */
const batchSize = 500
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }

try {
  const { dataDir, databaseUrl } = whatToMove()
  const folder = openTaskFolder(dataDir)
  const database = await openPostgres({ databaseUrl, log })
  report(dataDir, await moveAll(folder, database).finally(() => database.close()))
  folder.close()
} catch (error) {
  console.error(createRedactor(collectSecrets(process.env))(sentenceOf(error)))
  // The file may still be open.
  process.exit(1)
}

/** The other settings are the service's own affair: none of them has to be there. */
function whatToMove (): { dataDir: string, databaseUrl: string } {
  const { DATA_DIR, DATABASE_URL } = process.env
  const config = readConfig({ REPLICATE_API_TOKEN: 'none', DATA_DIR, DATABASE_URL })
  if (config.DATABASE_URL === undefined) throw new StartError('DATABASE_URL must name the PostgreSQL that the tasks are moved to')
  return { dataDir: config.DATA_DIR, databaseUrl: config.DATABASE_URL }
}

interface Moved { taken: number, open: number, known: number, refused: Task[] }

async function moveAll (folder: TaskFolder, database: PostgresDatabase): Promise<Moved> {
  const moved: Moved = { taken: 0, open: 0, known: 0, refused: [] }
  const deliveries = folder.deliveries(Date.now())
  for (const batch of folder.tasks(batchSize)) {
    const { imported: taken, existing: known, conflicting: refused } = await importTasks(batch, deliveries, database)
    moved.taken += taken.length
    moved.open += taken.filter(isOpen).length
    moved.known += known.length
    moved.refused.push(...refused)
  }
  // A client that sends its request again after the move is given the task it has.
  for (const batch of folder.keys(batchSize)) await importKeys(batch, database)
  return moved
}

function report (dataDir: string, { taken, open, known, refused }: Moved): void {
  console.log(`Moved ${taken} tasks of ${dataDir} to PostgreSQL, ${open} of them open; ${known} were there before.`)
  if (refused.length > 0) {
    const ids = refused.map(({ id }) => id).join(', ')
    throw new StartError(`${refused.length} tasks were not moved, because another task in PostgreSQL has their prediction: ${ids}`)
  }
  console.log('Start the service with DATABASE_URL from now on: without it, it would work on the open tasks of the folder once more.')
}

function sentenceOf (error: unknown): string {
  if (error instanceof StartError) return error.message
  if (error instanceof StoreUnavailableError) return `PostgreSQL could not take the tasks (${messageOf(error.cause)}). Run this again: it goes on where it was.`
  return sqliteResultCode(error) === undefined ? inspect(error) : `The database in DATA_DIR cannot be read: ${messageOf(error)}`
}

function messageOf (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
