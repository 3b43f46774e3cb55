import DataLoader from 'dataloader'
import { randomUUID } from 'node:crypto'
import type { CallBudget } from '../../rate-limit/call-budget.ts'
import type { Log } from '../../runtime/log.ts'
import { SingleFlight } from '../../runtime/single-flight.ts'
import { StartError } from '../../runtime/start-error.ts'
import { applyTransition, type Task, type Transition } from '../../tasks/task.ts'
import { taskCreated, taskTransitioned } from '../../telemetry/channels.ts'
import { needsCallback } from '../callback-deliveries.ts'
import { databaseAddress } from '../database-address.ts'
import { compareWithStoredKey, toKeyRow, type IdempotentOutcome, type IdempotentRequest, type StoredKey } from '../idempotency-key.ts'
import { noCaps, type TooManyOpenTasks } from '../open-task-caps.ts'
import { IllegalTransitionError, StoreUnavailableError } from '../store-errors.ts'
import { activityCount, endedCondition, expiryBounds, keepsFilesCondition, openSummary, unresolvedCondition } from '../task-conditions.ts'
import type { TaskEvent } from '../task-event.ts'
import { rowToOpenTasks, rowToTaskCount } from '../task-row.ts'
import type { CallKind, ConnectionCounts, CreateOutcome, InFlightPrediction, LeasedWork, OpenTasks, TaskCount, TaskListQuery, TaskStore, TransitionOutcome } from '../task-store.ts'
import { databaseErrorCode, requestTimeoutMs, withRequestTimeout } from './database-retry.ts'
import { PostgresCallBudget } from './postgres-call-budget.ts'
import { insertDeliveries, PostgresCallbackDeliveries } from './postgres-callback-deliveries.ts'
import { PostgresClock } from './postgres-clock.ts'
import { openPostgres, readStoreId, type PostgresDatabase } from './postgres-database.ts'
import { acquireKeys, findKey, freeKeys } from './postgres-idempotency-keys.ts'
import { PostgresMaintenance } from './postgres-maintenance.ts'
import { admitWithinCaps, type CappedInsert } from './postgres-open-tasks.ts'
import { findPredictionOwners, insertPredictionOwners, toPredictionOwners } from './postgres-prediction-owners.ts'
import { PostgresTaskClaims } from './postgres-task-claims.ts'
import { compareAndSet, insertTasks, numberOrNull, postgresRowToTask, taskColumnList, type CompareAndSet } from './postgres-task-table.ts'
import type { Database } from './postgres-transaction.ts'
import { PostgresWindowCounter } from './postgres-window-counter.ts'
import { PostgresWriteBatcher } from './postgres-write-batcher.ts'
import { TaskEventChannel } from './task-event-channel.ts'

export interface PostgresTaskStoreOptions {
  /** `postgres://…` */
  databaseUrl: string
  /** another clock than the database's, for tests; ms since the epoch */
  now?: (() => number) | undefined
  log: Log
  /** ms to wait at the start for a database that is unavailable; 30 s by default */
  startTimeoutMs?: number
}

/** Must be the same expression as in the indexes, or PostgreSQL does not use them. */
const statusExpression = "(case when state in ('queued', 'submitting') then 'pending' when state in ('generating', 'storing') then 'processing' else state end)"
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Sorts before every id. */
const nilUuid = '00000000-0000-0000-0000-000000000000'
const batching = { maxBatchSize: 100, maxConcurrentBatches: 2, timeoutMs: requestTimeoutMs }
const maxBatchedReads = 500
const uniqueViolation = '23505'

/**
 * The store for many instances, which share one PostgreSQL. A task's job is written in the same transaction as the task, and
 * the instance that holds the job works on the task.
 * @throws StartError when the database cannot be used
 */
export async function createPostgresTaskStore (options: PostgresTaskStoreOptions): Promise<TaskStore> {
  const database = await openPostgres(options)
  const events = new TaskEventChannel(database, options.log)
  const clock = await PostgresClock.start(database, options.log).catch(async (error: unknown) => {
    await database.close()
    throw error
  })
  const store = new PostgresTaskStore(database, events, clock, options)
  try {
    await database.withRetry(() => events.listen((event) => store.notify(event)))
    return store
  } catch (error) {
    await store.close()
    throw new StartError(`DATABASE_URL cannot be used: ${databaseAddress(options.databaseUrl)} does not accept LISTEN`, { cause: error })
  }
}

interface IdempotentInsert extends CappedInsert { request: IdempotentRequest }

class PostgresTaskStore implements TaskStore {
  #database
  #events
  #listeners: Array<(event: TaskEvent) => void> = []
  #clock
  #log
  #inserts
  #idempotentInserts
  /** When requests with the same key arrive at the same time, only one of them queries the database. */
  #keyLookups = new SingleFlight<StoredKey | TooManyOpenTasks>()
  #transitions
  #reads
  #claims
  #maintenance
  #isClosed = false
  #instanceId = randomUUID()
  readonly deliveries
  readonly isExclusive = false
  readonly requestCounter
  readonly now

  constructor (database: PostgresDatabase, events: TaskEventChannel, clock: PostgresClock, { now = clock.now, log }: PostgresTaskStoreOptions) {
    this.#database = database
    this.#events = events
    this.#clock = clock
    this.now = now
    this.#log = log
    this.#inserts = new PostgresWriteBatcher<CappedInsert, CreateOutcome>({ commit: (inserts) => this.#insert(inserts), keyOf: ({ task }) => task.id, ...batching })
    this.#idempotentInserts = new PostgresWriteBatcher<IdempotentInsert, StoredKey | TooManyOpenTasks>({ commit: (inserts) => this.#insertIdempotent(inserts), keyOf: keyName, ...batching })
    this.#transitions = new PostgresWriteBatcher<CompareAndSet, TransitionOutcome>({ commit: (writes) => this.#compareAndSetAll(writes), keyOf: ({ from }) => from.id, ...batching })
    // Not a cache: all reads of one turn of the event loop are one query, and the next turn asks again.
    this.#reads = new DataLoader<string, Task | undefined>((ids) => this.#readAll(ids), {
      cache: false, maxBatchSize: maxBatchedReads, batchScheduleFn: (send) => { setImmediate(send) }
    })
    this.#claims = new PostgresTaskClaims({ database, loadTask: (taskId) => this.#load(taskId), log })
    this.deliveries = new PostgresCallbackDeliveries({ database, loadTask: (taskId) => this.#reads.load(taskId), log })
    this.requestCounter = new PostgresWindowCounter(database)
    this.#maintenance = new PostgresMaintenance({ database, now, log })
  }

  async create (task: Task, caps = noCaps): Promise<CreateOutcome> {
    this.#assertHealthy()
    const outcome = await this.#inserts.run({ task, caps }).catch((error: unknown) => this.#resolveUnknownOutcome(error, async () => {
      const created = await this.#reads.load(task.id)
      return created && { outcome: 'created' as const, task: created }
    }))
    if (outcome.outcome === 'created' && taskCreated.hasSubscribers) taskCreated.publish({ task: outcome.task })
    return outcome
  }

  async createIdempotent (task: Task, request: IdempotentRequest, caps = noCaps): Promise<IdempotentOutcome | TooManyOpenTasks> {
    this.#assertHealthy()
    const stored = await this.#keyLookups.run(keyName({ request }), () => this.#idempotentInserts.run({ task, request, caps })
      .catch((error: unknown) => this.#resolveUnknownOutcome(error, () => findKey(this.#database, request))))
    if ('outcome' in stored) return stored
    if (stored.row.task_id !== task.id) return compareWithStoredKey(stored, request)
    if (taskCreated.hasSubscribers) taskCreated.publish({ task })
    return { outcome: 'created' }
  }

  get (id: string): Promise<Task | undefined> {
    return this.#load(id)
  }

  async applyTransition (task: Task, transition: Transition): Promise<TransitionOutcome> {
    const after = applyTransition(task, transition, this.now())
    if (after === undefined) throw new IllegalTransitionError(task, transition)
    const outcome = await this.#transitions.run({ from: task, to: after })
    if (outcome.outcome === 'applied' && taskTransitioned.hasSubscribers) taskTransitioned.publish({ transition: transition.type, from: task, to: outcome.task })
    return outcome
  }

  async remove (task: Task): Promise<boolean> {
    const isRemoved = await this.#delete(task).catch((error: unknown) => this.#resolveUnknownOutcome(error, async () => {
      return await this.#reads.load(task.id) === undefined ? true : undefined
    }))
    // Publish even if nothing was deleted: after a commit whose answer was lost, the second attempt finds nothing to delete.
    this.#publishChanges([task.id])
    return isRemoved
  }

  async list ({ status, style, keyName, before, limit }: TaskListQuery): Promise<Task[]> {
    const values: unknown[] = []
    const conditions = Object.entries({ 'key_name =': keyName, [`${statusExpression} =`]: status, 'style =': style, 'id <': before })
      .flatMap(([comparison, value]) => value === undefined ? [] : [`${comparison} $${values.push(value)}`])
    const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
    const rows = await this.#database.query(`select ${taskColumnList} from task ${where} order by id desc limit $${values.push(limit)}`, values)
    return rows.map(postgresRowToTask)
  }

  async getByFileName (name: string): Promise<Task | undefined> {
    const [row] = await this.#database.query(`select ${taskColumnList} from task where video_name = $1
      union all select ${taskColumnList} from task where poster_name = $1`, [name])
    return row && postgresRowToTask(row)
  }

  async filterFileNames (names: string[]): Promise<Set<string>> {
    const rows = await this.#database.query(`select video_name as name from task where video_name = any($1) and ${keepsFilesCondition}
      union all select poster_name from task where poster_name = any($1) and ${keepsFilesCondition}`, [names])
    return new Set(rows.map(({ name }) => String(name)))
  }

  async listVideoWork (after: string | undefined, limit: number): Promise<Task[]> {
    const rows = await this.#database.query(`select ${taskColumnList} from task where video_work is not null and id > $1 order by id limit $2`, [after ?? nilUuid, limit])
    return rows.map(postgresRowToTask)
  }

  async listExpired (retentionMs: number, limit: number): Promise<Task[]> {
    const now = Math.floor(this.now())
    const rows = await this.#database.query(`select ${taskColumnList} from task where ${endedCondition} and updated_at <= $1
      and (callback_url is null or updated_at <= $2) and deadline_at <= $3 order by updated_at limit $4`, [...expiryBounds(retentionMs, now), now, limit])
    return rows.map(postgresRowToTask)
  }

  claim (limit: number): Promise<Task[]> {
    return this.#claims.claim(limit)
  }

  claimOverdue (now: number, limit: number): Promise<Task[]> {
    return this.#claims.claimOverdue(now, limit)
  }

  claimSubmitted (limit: number): Promise<Task[]> {
    return this.#claims.claimSubmitted(limit)
  }

  release (id: string): Promise<void> {
    return this.#claims.release(id)
  }

  onLeaseLost (listener: (taskId: string) => void): void {
    this.#claims.onLeaseLost(listener)
  }

  onEvent (listener: (event: TaskEvent) => void): void {
    this.#listeners.push(listener)
  }

  /** Passes an event, from here or from another instance, on to the listeners. */
  notify (event: TaskEvent): void {
    for (const notify of this.#listeners) notify(event)
  }

  async requestPoll (taskIds: string[]): Promise<void> {
    this.#events.publish('poll_requested', taskIds)
  }

  async listInFlight (): Promise<InFlightPrediction[]> {
    const rows = await this.#database.query("select id, prediction_id, prediction_created_at from task where state = 'generating'")
    return rows.map((row) => ({
      taskId: String(row.id), predictionId: String(row.prediction_id), predictionCreatedAt: numberOrNull(row.prediction_created_at)
    }))
  }

  async acquireSweep (intervalMs: number): Promise<boolean> {
    const acquired = await this.#database.query(
      "update sweep set due_at = clock_timestamp() + $1 * interval '1 ms' where due_at <= clock_timestamp() returning 1", [intervalMs])
    return acquired.length > 0
  }

  async listUnresolvedSubmissions (now: number): Promise<Task[]> {
    const rows = await this.#database.query(`select ${taskColumnList} from task where ${unresolvedCondition} and deadline_at > $1`, [now])
    return rows.map(postgresRowToTask)
  }

  findPredictionOwners (predictionIds: string[]): Promise<Map<string, string>> {
    return findPredictionOwners(this.#database, predictionIds)
  }

  async recordPredictionOwner (predictionId: string, taskId: string): Promise<boolean> {
    const owner = { prediction_id: predictionId, task_id: taskId, recorded_at: this.now() }
    return this.#database.transaction(async (db) => (await insertPredictionOwners(db, [owner])).has(predictionId))
  }

  async acquireLease (work: LeasedWork, ttlMs: number): Promise<boolean> {
    const acquired = await this.#database.query(`insert into lease (work, holder, expires_at) values ($1, $2, clock_timestamp() + $3 * interval '1 ms')
      on conflict (work) do update set holder = excluded.holder, expires_at = excluded.expires_at
      where lease.holder = excluded.holder or lease.expires_at <= clock_timestamp() returning 1`, [work, this.#instanceId, ttlMs])
    return acquired.length > 0
  }

  async releaseLease (work: LeasedWork): Promise<void> {
    await this.#database.query("update lease set expires_at = '-infinity' where work = $1 and holder = $2", [work, this.#instanceId])
  }

  async readId (): Promise<string> {
    return readStoreId(this.#database)
  }

  callBudget (kind: CallKind, perMinute: number): CallBudget {
    return new PostgresCallBudget(this.#database, kind, perMinute)
  }

  async summarizeOpen (limit: number): Promise<OpenTasks[]> {
    this.#assertOpen()
    return (await this.#database.query(openSummary, [limit])).map(rowToOpenTasks)
  }

  async countActivity (since: number, limit: number): Promise<TaskCount[]> {
    this.#assertOpen()
    return (await this.#database.query(activityCount('$1::bigint', '$2::bigint'), [since, limit])).map(rowToTaskCount)
  }

  countConnections (): ConnectionCounts | undefined {
    return this.#database.countConnections()
  }

  async ping (): Promise<void> {
    this.#assertHealthy()
    await this.#database.query('select from task limit 1')
  }

  async close (): Promise<void> {
    if (this.#isClosed) return
    this.#maintenance.stop()
    await Promise.all([this.#inserts.drain(), this.#idempotentInserts.drain(), this.#transitions.drain(), this.#maintenance.drain()])
    await Promise.all([this.#claims.close(), this.deliveries.close()])
    await Promise.all([this.#events.close(), this.#clock.close()])
    this.#isClosed = true
    await this.#database.close()
  }

  #assertHealthy (): void {
    this.#assertOpen()
    this.#claims.assertHealthy()
  }

  #assertOpen (): void {
    if (this.#isClosed) throw new StoreUnavailableError(new Error('The store is closed'))
  }

  async #load (id: string): Promise<Task | undefined> {
    this.#assertOpen()
    return uuid.test(id) ? this.#reads.load(id) : undefined
  }

  async #readAll (ids: readonly string[]): Promise<Array<Task | undefined>> {
    const rows = await this.#database.query(`select ${taskColumnList} from task where id = any($1::uuid[])`, [ids])
    const tasks = new Map(rows.map((row) => [row.id, postgresRowToTask(row)]))
    return ids.map((id) => tasks.get(id))
  }

  /**
   * For a write that failed while its commit was under way: what is stored tells whether it happened.
   * @param find finds something only if the write happened
   * @throws the error of the write if nothing was found, or nothing could be read
   */
  async #resolveUnknownOutcome<T> (error: unknown, find: () => Promise<T | undefined>): Promise<T> {
    if (!(error instanceof StoreUnavailableError) || !error.isOutcomeUnknown) throw error
    const found = await withRequestTimeout(find).catch((err: unknown) => {
      this.#log.debug({ err }, 'Could not read whether a write has happened')
    })
    if (found === undefined) throw error
    return found
  }

  async #insert (inserts: CappedInsert[]): Promise<CreateOutcome[]> {
    const { inserted, refused } = await this.#database.transaction(async (db) => {
      const { admitted, refused } = await admitWithinCaps(db, inserts)
      return { inserted: admitted.length === 0 ? [] : await insertTasks(db, admitted, this.#database), refused }
    })
    const created = new Map(inserted.map((task) => [task.id, task]))
    return Promise.all(inserts.map(async ({ task }) => refused.get(task.id) ?? { outcome: 'created', task: created.get(task.id) ?? await this.#readInserted(task) }))
  }

  /** An attempt whose answer was lost has inserted the task. If it cannot be read, only its start tag is not known. */
  async #readInserted (task: Task): Promise<Task> {
    return await this.#reads.load(task.id).catch(() => undefined) ?? task
  }

  async #insertIdempotent (inserts: IdempotentInsert[]): Promise<Array<StoredKey | TooManyOpenTasks>> {
    const rows = inserts.map(({ task, request }) => toKeyRow(request, task.id, this.now()))
    return this.#database.transaction(async (db) => {
      const found = new Map((await acquireKeys(db, rows)).map((stored) => [keyName({ request: stored.row }), stored]))
      const keys = inserts.map(({ task, request }) => {
        const stored = found.get(keyName({ request }))
        if (stored === undefined) throw new Error('An idempotency key that was stored in this transaction was not found')
        return stored.row.task_id === task.id ? { row: stored.row, hasTask: true } : stored
      })
      const { admitted, refused } = await admitWithinCaps(db, inserts.filter(({ task }, index) => keys[index]?.row.task_id === task.id))
      if (admitted.length > 0) await insertTasks(db, admitted, this.#database)
      if (refused.size > 0) await freeKeys(db, rows.filter((row) => refused.has(row.task_id)))
      return keys.map((stored, index) => refused.get(inserts[index]?.task.id ?? '') ?? stored)
    })
  }

  /** A prediction that belongs to another task rolls back the whole batch, so each of its writes is then made alone. */
  async #compareAndSetAll (writes: CompareAndSet[]): Promise<TransitionOutcome[]> {
    try {
      const changedIds = await this.#database.transaction((db) => this.#compareAndSetIn(db, writes))
      // All tasks of the batch: after a commit whose answer was lost, the second attempt does not know what the first one changed.
      this.#publishChanges(writes.map(({ from }) => from.id))
      if (writes.some(({ from, to }) => needsCallback(from, to))) this.deliveries.notifyDue()
      return writes.map(({ from, to }) => changedIds.has(from.id) ? { outcome: 'applied', task: to } : { outcome: 'stale' })
    } catch (error) {
      if (!isPredictionTaken(error)) throw error
      if (writes.length === 1) return [{ outcome: 'prediction_taken' }]
      return (await Promise.all(writes.map((write) => this.#compareAndSetAll([write])))).flat()
    }
  }

  /**
   * @returns the ids of the tasks that were changed
   * @throws PredictionTakenError if one of the predictions belongs to another task
   */
  async #compareAndSetIn (db: Database, writes: CompareAndSet[]): Promise<Set<string>> {
    const ids = await compareAndSet(db, writes)
    const changed = writes.filter(({ to }) => ids.has(to.id))
    const owners = changed.filter(({ from }) => from.predictionId === null).flatMap(({ to }) => toPredictionOwners(to))
    if ((await insertPredictionOwners(db, owners)).size < owners.length) throw new PredictionTakenError('A prediction belongs to another task')
    const ended = changed.filter(({ from, to }) => needsCallback(from, to))
    await insertDeliveries(db, ended.map(({ to }) => ({ taskId: to.id, attempt: 1, inMs: 0 })), this.#database)
    return ids
  }

  async #delete (task: Task): Promise<boolean> {
    let attempts = 0
    return this.#database.transaction(async (db) => {
      attempts++
      const { rows } = await db.executeSql('delete from task where id = $1 and version = $2 returning id', [task.id, task.version])
      if (rows.length > 0 || attempts === 1) return rows.length > 0
      // The first attempt may have deleted the task without an answer.
      return (await db.executeSql('select from task where id = $1', [task.id])).rows.length === 0
    })
  }

  /** After the commit: NOTIFY inside a transaction takes a lock of the whole cluster until its commit is on the disk. */
  #publishChanges (taskIds: string[]): void {
    this.#events.publish('changed', taskIds)
    this.notify({ kind: 'changed', taskIds, isLocal: true })
  }
}

function keyName ({ request: { scope, key } }: { request: Pick<IdempotentRequest, 'scope' | 'key'> }): string {
  return `${scope} ${key}`
}

class PredictionTakenError extends Error {
  override name = 'PredictionTakenError'
}

function isPredictionTaken (error: unknown): boolean {
  return error instanceof PredictionTakenError || (error instanceof StoreUnavailableError && databaseErrorCode(error.cause) === uniqueViolation)
}
