import { inspect, parseArgs } from 'node:util'
import { readConfig, collectSecrets, s3Options, type Config } from '../config.ts'
import { createRedactor } from '../services/runtime/redact-secrets.ts'
import { StartError } from '../services/runtime/start-error.ts'
import { importTasks, importKeys } from '../services/store/postgres/import-tasks.ts'
import { openPostgres, readStoreId, type PostgresDatabase } from '../services/store/postgres/postgres-database.ts'
import { sqliteResultCode } from '../services/store/sqlite/sqlite-database.ts'
import { openTaskFolder, type TaskFolder } from '../services/store/sqlite/task-folder.ts'
import { StoreUnavailableError } from '../services/store/store-errors.ts'
import { isOpen, type Task } from '../services/tasks/task.ts'
import { ArchiveUnavailableError } from '../services/videos/video-archive.ts'
import { VideoMove, type CopiedVideos } from '../services/videos/video-move.ts'

/**
 * Copies the tasks of DATA_DIR into the PostgreSQL of DATABASE_URL, where work on open tasks continues at once. The videos are copied
 * before, into the bucket of S3_BUCKET or the folder of --new-data-dir; otherwise they stay where they are. If it was interrupted, run
 * it again: it copies what is missing, and does not change tasks that are already in PostgreSQL.
 */
const batchSize = 500
const maxNamed = 10
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }

try {
  const { config, databaseUrl, newDataDir, skipMissing } = readSettings()
  const folder = openTaskFolder(config.DATA_DIR)
  const database = await openPostgres({ databaseUrl, log })
  try {
    const videos = await beginVideoMove(folder, database, config, newDataDir)
    for (const batch of folder.tasks(batchSize)) await videos.copy(batch)
    reportVideos(videos.copied, skipMissing)
    const summary = await moveAll(folder, database)
    // The videos of a task that was not moved would be removed as orphans.
    if (summary.conflicting.length === 0) await videos.finish()
    videos.close()
    report(config.DATA_DIR, summary)
  } finally {
    await database.close()
  }
  folder.close()
} catch (error) {
  console.error(createRedactor(collectSecrets(process.env))(toMessage(error)))
  // An open database must not keep the process running.
  process.exit(1)
}

/** Needs no other setting of the service. */
function readSettings (): { config: Config, databaseUrl: string, newDataDir: string | undefined, skipMissing: boolean } {
  const { 'new-data-dir': newDataDir, 'skip-missing': skipMissing } = readArguments()
  const needed = Object.entries(process.env).filter(([name]) => ['DATA_DIR', 'DATABASE_URL'].includes(name) || name.startsWith('S3_'))
  const config = readConfig({ ...Object.fromEntries(needed), REPLICATE_API_TOKEN: 'none' })
  if (config.DATABASE_URL === undefined) throw new StartError('DATABASE_URL must name the PostgreSQL that the tasks are moved to')
  if (newDataDir !== undefined && config.S3_BUCKET !== undefined) throw new StartError('Videos can be moved either to S3_BUCKET or to --new-data-dir')
  return { config, databaseUrl: config.DATABASE_URL, newDataDir, skipMissing }
}

function readArguments () {
  try {
    return parseArgs({ options: { 'new-data-dir': { type: 'string' }, 'skip-missing': { type: 'boolean', default: false } } }).values
  } catch (error) {
    throw new StartError(`${errorText(error)} The options are --new-data-dir FOLDER and --skip-missing.`)
  }
}

async function beginVideoMove (folder: TaskFolder, database: PostgresDatabase, config: Config, newDataDir = config.DATA_DIR): Promise<VideoMove> {
  const s3 = s3Options(config)
  return await VideoMove.begin({
    dataDir: config.DATA_DIR,
    target: s3 === undefined ? { dataDir: newDataDir } : { s3 },
    storeIds: { from: folder.storeId, to: await readStoreId(database) },
    onProgress: (copied) => console.log(`Copied ${describe(copied)} so far`)
  })
}

function describe ({ copied, bytes, present }: CopiedVideos): string {
  return `${copied} videos and posters, ${Math.ceil(bytes / 1_000_000)} MB; ${present} were there before`
}

function reportVideos (copied: CopiedVideos, skipMissing: boolean): void {
  console.log(`Copied ${describe(copied)}.`)
  const { missing } = copied
  if (missing.length === 0) return
  const names = `${missing.slice(0, maxNamed).join(', ')}${missing.length > maxNamed ? ', …' : ''}`
  if (!skipMissing) {
    throw new StartError(`${missing.length} videos and posters are missing, and no task was moved: ${names}. Name the bucket that has them in S3_BUCKET, or run this with --skip-missing`)
  }
  console.log(`${missing.length} videos and posters are missing: ${names}`)
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
  if (error instanceof ArchiveUnavailableError) return `The videos could not be copied (${errorText(error.cause)}). Run this again: it copies the videos that are missing.`
  return sqliteResultCode(error) === undefined ? inspect(error) : `The database in DATA_DIR cannot be read: ${errorText(error)}`
}

function errorText (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
