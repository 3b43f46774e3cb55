import type { EventEmitter } from 'node:events'
import { PgBoss } from 'pg-boss'
import type { Log } from '../../runtime/log.ts'
import { databaseAddress } from '../database-address.ts'
import { StoreUnavailableError } from '../store-errors.ts'
import type { ConnectionCounts } from '../task-store.ts'
import { DatabaseOutageLog } from './database-outage-log.ts'
import { isRetryable, isTransient, requestTimeoutMs, unwrapCause, withRequestTimeout, withRetry } from './database-retry.ts'
import { errorMessage, toStartError } from './database-start-error.ts'
import { migrate } from './postgres-migrations.ts'
import { inTransaction, type Database } from './postgres-transaction.ts'

export interface PostgresOptions {
  /** `postgres://…` */
  databaseUrl: string
  log: Log
  /** ms to wait at the start for a database that is unavailable; 30 s by default */
  startTimeoutMs?: number
}

export interface PostgresDatabase {
  boss: PgBoss
  /**
   * Runs one statement. It waits for a database that is unavailable or does not answer, for 5 s in all.
   * @throws StoreUnavailableError when the database stays unavailable or cannot do its work
   */
  query: (text: string, values?: unknown[]) => Promise<Row[]>
  /**
   * Runs one statement, once: for work that the caller can do without.
   * @throws StoreUnavailableError after `timeoutMs`, or the error of the driver
   */
  queryOnce: (text: string, values: unknown[], timeoutMs: number) => Promise<Row[]>
  /**
   * Runs `work` in a transaction, and again from its start after a lost connection or a deadlock, within the same 5 s:
   * nothing is committed later. If a commit was under way then, it may have happened, so running `work` twice must do no
   * harm.
   * @throws StoreUnavailableError, with `isOutcomeUnknown` where a commit was under way, or any other error of `work`
   */
  transaction: <T>(work: (db: Database) => Promise<T>) => Promise<T>
  /**
   * Makes a call of pg-boss, and again after a lost connection. It waits for an answer as long as the driver does, 10 s,
   * because it has to be known what pg-boss has claimed.
   * @throws StoreUnavailableError when the database stays unavailable or cannot do its work
   */
  withRetry: <T>(work: () => Promise<T>) => Promise<T>
  /** The connections of the pool; undefined while it is not open. */
  countConnections: () => ConnectionCounts | undefined
  close: () => Promise<void>
}

export type Row = Record<string, unknown>

export const generationQueue = 'generate'
export const deliveryQueue = 'deliver'

/** A database that is started together with the service may have to create its files first. */
const defaultStartTimeoutMs = 30_000
/** Passed on by pg-boss to the driver. */
const driverOptions = {
  // A connection that died without a word is noticed.
  query_timeout: 10_000,
  keepAlive: true,
  // Between leaving the pool and reaching its user, a connection has no listener. Without this one, an error at that moment
  // would end the process. The next statement on the connection fails with the same error.
  onConnect: (client: EventEmitter) => { client.on('error', () => {}) }
}

/** A missed heartbeat is noticed within 2 s after 10 s, the shortest time that pg-boss allows. */
const queueOptions = {
  retryLimit: 1_000_000,
  retryDelay: 0,
  heartbeatSeconds: 10,
  expireInSeconds: 86_399,
  retentionSeconds: 31_536_000,
  deleteAfterSeconds: 3_600,
  warningQueueSize: 100_000
}

/**
 * Connects, and brings the schemas of pg-boss and of the service to the newest version. Many instances may start at once.
 * @throws StartError when the database cannot be used
 */
export async function openPostgres (options: PostgresOptions): Promise<PostgresDatabase> {
  const boss = createBoss(options.databaseUrl)
  const outage = new DatabaseOutageLog({ log: options.log, now: () => performance.now() })
  boss.on('error', (err: Error) => outage.recordFailure(err))
  await start(boss, options)
  const db = boss.getDb()
  async function retrying<T> (work: () => Promise<T>): Promise<T> {
    const result = await withRetry(work)
    outage.recordSuccess()
    return result
  }
  return {
    boss,
    query: (text, values) => withRequestTimeout(() => retrying(async () => (await db.executeSql(text, values)).rows)),
    queryOnce: (text, values, timeoutMs) => withRequestTimeout(async () => (await db.executeSql(text, values)).rows, timeoutMs),
    withRetry: retrying,
    transaction: async (work) => {
      const commits = { isUnderWay: false, wasLost: false }
      try {
        return await withRequestTimeout((signal) => retrying(() => inTransaction(db, work, signal, commits)))
      } catch (error) {
        if (!commits.isUnderWay && !commits.wasLost) throw error
        throw new StoreUnavailableError(unwrapCause(error), { isTransient: isTransient(unwrapCause(error)), isOutcomeUnknown: true })
      }
    },
    countConnections: () => {
      const counts = db.poolCounts?.()
      return counts ? { max: counts.max, inUse: counts.total - counts.idle, idle: counts.idle, waiting: counts.waiting } : undefined
    },
    close: () => boss.stop({ graceful: false })
  }
}

/** @throws StoreUnavailableError */
export async function readStoreId ({ query }: PostgresDatabase): Promise<string> {
  const [row] = await query('select id from store_id')
  if (row === undefined) throw new Error('The table store_id is empty')
  return String(row.id)
}

function createBoss (connectionString: string): PgBoss {
  return new PgBoss({
    connectionString,
    application_name: 'dreamreel',
    max: 10,
    connectionTimeoutMillis: requestTimeoutMs,
    options: '-c statement_timeout=15000 -c idle_in_transaction_session_timeout=15000',
    ...driverOptions,
    schedule: false,
    monitorIntervalSeconds: 2,
    superviseIntervalSeconds: 2
  })
}

async function start (boss: PgBoss, { databaseUrl, log, startTimeoutMs = defaultStartTimeoutMs }: PostgresOptions): Promise<void> {
  const database = databaseAddress(databaseUrl)
  const startedAt = performance.now()
  log.info({ database, at_most_ms: startTimeoutMs }, 'Waiting for the database')
  const warnOnce = once((error: unknown) => log.warn({ database, reason: errorMessage(error) }, 'The database cannot be used yet'))
  try {
    await withRetry(async () => {
      await boss.start()
      for (const queue of [generationQueue, deliveryQueue]) await boss.createQueue(queue, queueOptions)
      await migrate(boss.getDb())
    }, { timeoutMs: startTimeoutMs, onRetry: warnOnce })
  } catch (error) {
    await boss.stop({ graceful: false }).catch(() => undefined)
    const cause = unwrapCause(error)
    throw toStartError(cause, databaseUrl, isRetryable(cause) ? performance.now() - startedAt : 0)
  }
}

function once<T> (call: (value: T) => void): (value: T) => void {
  let isCalled = false
  return (value) => {
    if (!isCalled) call(value)
    isCalled = true
  }
}
