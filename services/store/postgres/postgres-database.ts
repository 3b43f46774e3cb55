import type { EventEmitter } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { PgBoss } from 'pg-boss'
import { backoffDelay, wait } from '../../runtime/backoff.ts'
import { DatabaseOutageLog } from './database-outage-log.ts'
import { databaseAddress } from '../database-address.ts'
import { toStartError, errorMessage } from './database-start-error.ts'
import type { Log } from '../../runtime/log.ts'
import { StoreUnavailableError } from '../store-errors.ts'

export interface PostgresOptions {
  /** `postgres://…` */
  databaseUrl: string
  log: Log
  /** ms to wait at the start for a database that is away; 30 s where nothing is said */
  startTimeoutMs?: number
}

export interface PostgresDatabase {
  boss: PgBoss
  /**
   * Runs one statement. A database that is away, or says nothing, is waited for, at most 5 s in all.
   * @throws StoreUnavailableError when it stays away or cannot do its work
   */
  query: (text: string, values?: unknown[]) => Promise<Row[]>
  /**
   * Runs `work` in a transaction, again from its start where the database went away or a deadlock was undone, within
   * the same 5 s: nothing is committed afterwards. Where a commit was under way then, it may have happened: what `work`
   * does must stand being done twice.
   * @throws StoreUnavailableError, with `isOutcomeUnknown` where a commit was under way, or whatever else `work` throws
   */
  transaction: <T>(work: (db: Database) => Promise<T>) => Promise<T>
  /**
   * Does something else with the database, pg-boss's own calls, and again where the database went away meanwhile. A
   * database that says nothing is waited for as long as the driver does, 10 s: what pg-boss has claimed must be known.
   * @throws StoreUnavailableError when it stays away or cannot do its work
   */
  withRetry: <T>(work: () => Promise<T>) => Promise<T>
  close: () => Promise<void>
}

export type Row = Record<string, unknown>
/** A connection, or the transaction that it is in. */
export type Database = ReturnType<PgBoss['getDb']>

export const generationQueue = 'generate'
export const deliveryQueue = 'deliver'

const migrationsFolder = new URL('../../../migrations/postgres/', import.meta.url)
/** One advisory lock for all who start at the same moment; the number is arbitrary. */
const migrationLock = 4_302_007_105
/** How long a request waits for a database that is away. */
export const requestTimeoutMs = 5_000
/** A database that is started together with the service, and may have to make its files first. */
const defaultStartTimeoutMs = 30_000
/** For the driver, which pg-boss hands it on to. */
const driverOptions = {
  // A connection that died without a word is noticed.
  query_timeout: 10_000,
  keepAlive: true,
  // Between leaving the pool and reaching whoever waits for it a connection has no listener: were it cut just then, its
  // error would end the process. Whoever uses it next meets the error.
  onConnect: (client: EventEmitter) => { client.on('error', () => {}) }
}
const retry = { firstMs: 100, maxMs: 1_000 }

/** A heartbeat is missed after 10 s, the least that pg-boss allows, and seen to be missed within 2 more. */
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
 * Connects, and brings both schemas, pg-boss's and ours, to the newest version. Many instances may start at once. An older
 * release may still be running, so from the first release on migrations only add.
 * @throws StartError when the database cannot be used
 */
export async function openPostgres ({ databaseUrl, log, startTimeoutMs = defaultStartTimeoutMs }: PostgresOptions): Promise<PostgresDatabase> {
  const database = databaseAddress(databaseUrl)
  const startedAt = performance.now()
  const boss = new PgBoss({
    connectionString: databaseUrl,
    application_name: 'dreamreel',
    max: 10,
    connectionTimeoutMillis: requestTimeoutMs,
    options: '-c statement_timeout=15000 -c idle_in_transaction_session_timeout=15000',
    ...driverOptions,
    schedule: false,
    monitorIntervalSeconds: 2,
    superviseIntervalSeconds: 2
  })
  const outage = new DatabaseOutageLog({ log, now: () => performance.now() })
  boss.on('error', (err: Error) => outage.recordFailure(err))
  log.info({ database, at_most_ms: startTimeoutMs }, 'Waiting for the database')
  const sayOnce = once((error: unknown) => log.warn({ database, reason: errorMessage(error) }, 'The database cannot be used yet'))
  try {
    await withRetry(async () => {
      await boss.start()
      for (const queue of [generationQueue, deliveryQueue]) await boss.createQueue(queue, queueOptions)
      await migrate(boss.getDb())
    }, startTimeoutMs, sayOnce)
  } catch (error) {
    await boss.stop({ graceful: false }).catch(() => undefined)
    const cause = unwrapCause(error)
    throw toStartError(cause, databaseUrl, isRetryable(cause) ? performance.now() - startedAt : 0)
  }
  const db = boss.getDb()
  async function retrying<T> (work: () => Promise<T>): Promise<T> {
    const result = await withRetry(work)
    outage.recordSuccess()
    return result
  }
  return {
    boss,
    query: (text, values) => withRequestTimeout(() => retrying(async () => (await db.executeSql(text, values)).rows)),
    withRetry: retrying,
    transaction: async (work) => {
      const commits = { isUnderWay: false, wasLost: false }
      try {
        return await withRequestTimeout((late) => retrying(() => inTransaction(db, work, late, commits)))
      } catch (error) {
        if (!commits.isUnderWay && !commits.wasLost) throw error
        throw new StoreUnavailableError(unwrapCause(error), { isTransient: isTransient(unwrapCause(error)), isOutcomeUnknown: true })
      }
    },
    close: () => boss.stop({ graceful: false })
  }
}

function once<T> (say: (value: T) => void): (value: T) => void {
  let isSaid = false
  return (value) => {
    if (!isSaid) say(value)
    isSaid = true
  }
}

async function migrate (db: Database): Promise<void> {
  await inTransaction(db, async (db) => {
    await db.executeSql('select pg_advisory_xact_lock($1)', [migrationLock])
    await db.executeSql('create table if not exists schema_migration (name text primary key, applied_at timestamptz not null default now())')
    const { rows } = await db.executeSql('select name from schema_migration')
    const applied = new Set(rows.map((row: Row) => String(row.name)))
    for (const name of readdirSync(migrationsFolder).filter((name) => name.endsWith('.sql') && !applied.has(name)).sort()) {
      await db.executeSql(readFileSync(new URL(name, migrationsFolder), 'utf8'))
      await db.executeSql('insert into schema_migration (name) values ($1)', [name])
    }
  })
}

/** Whether a commit has no answer yet, or its answer was lost: it may have happened then. */
interface Commits { isUnderWay: boolean, wasLost: boolean }

/** @param late aborted when the result is not waited for any more: it is undone then */
async function inTransaction<T> (db: Database, work: (db: Database) => Promise<T>, late = never, commits?: Commits): Promise<T> {
  if (db.beginTransaction === undefined) throw new Error('This version of pg-boss gives no transactions')
  const transaction = await db.beginTransaction()
  try {
    const result = await work(transaction.db)
    late.throwIfAborted()
    await commit(transaction, commits)
    return result
  } catch (error) {
    await transaction.rollback()
    throw error
  }
}

async function commit (transaction: { commit: () => Promise<void> }, commits: Commits = { isUnderWay: false, wasLost: false }): Promise<void> {
  commits.isUnderWay = true
  try {
    await transaction.commit()
  } catch (error) {
    commits.wasLost ||= !isRolledBack(error)
    throw error
  } finally {
    commits.isUnderWay = false
  }
}

/** The driver's own limit is for each statement, and longer: a request does not wait for that. */
async function withRequestTimeout<T> (work: (late: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(new StoreUnavailableError(new Error(`No answer within ${requestTimeoutMs} ms`))), requestTimeoutMs)
  const tooLate = new Promise<never>((_resolve, reject) => late.signal.addEventListener('abort', () => reject(late.signal.reason)))
  try {
    return await Promise.race([work(late.signal), tooLate])
  } finally {
    clearTimeout(timer)
  }
}

async function withRetry<T> (work: () => Promise<T>, ms = requestTimeoutMs, onRetry: (error: unknown) => void = () => {}): Promise<T> {
  const giveUpAt = performance.now() + ms
  for (let attempt = 0; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      const left = giveUpAt - performance.now()
      if (!isConnectionLost(error) && errorCode(error) === undefined) throw error
      if (!isRetryable(error) || left <= 0) throw new StoreUnavailableError(error, { isTransient: isTransient(error) })
      onRetry(error)
      await wait(Math.min(left, backoffDelay(attempt, retry)), never)
    }
  }
}

const never = new AbortController().signal

/** What the driver says, without a code, of a connection that it lost or did not get. */
function isConnectionLost (error: unknown): boolean {
  return error instanceof Error && /connection (terminated|error|timeout)|timeout exceeded|read timeout|not queryable|already settled/i.test(error.message)
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, shutdown, deadlock, too many clients. */
export function isRetryable (error: unknown): boolean {
  const code = errorCode(error)
  return code === undefined || /^(08|57P|40|53300|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH)/.test(code)
}

/** Whether the same work may succeed later, if not at once: also a full disk, a statement that took too long, a lock. */
export function isTransient (error: unknown): boolean {
  return isRetryable(error) || /^(25006|53|55|57|58)/.test(errorCode(error) ?? '')
}

/** What a commit says that has certainly not happened: a constraint that was checked at its end, or a conflict with others. */
function isRolledBack (error: unknown): boolean {
  return /^(23|40(?!003))/.test(errorCode(error) ?? '')
}

function unwrapCause (error: unknown): unknown {
  return error instanceof StoreUnavailableError ? error.cause : error
}

/** SQLSTATE, or Node's code of a connection that failed. */
export function errorCode (error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
