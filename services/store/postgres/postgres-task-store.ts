import DataLoader from 'dataloader'
import { randomUUID } from 'node:crypto'
import type { CallBudget } from '../../rate-limit/call-budget.ts'
import { needsCallback } from '../callback-deliveries.ts'
import { databaseAddress } from '../database-address.ts'
import { keyTtlMs, toKeyRow, compareWithStoredKey, type IdempotentRequest, type StoredKey, type IdempotentOutcome } from '../idempotency-key.ts'
import { ClaimHealth } from '../claim-health.ts'
import { JobLeases } from './job-leases.ts'
import type { Log } from '../../runtime/log.ts'
import { PostgresCallBudget } from './postgres-call-budget.ts'
import { insertDeliveries, PostgresCallbackDeliveries } from './postgres-callback-deliveries.ts'
import { generationQueue, isRetryable, isTransient, openPostgres, requestTimeoutMs, errorCode, type Database, type PostgresDatabase } from './postgres-database.ts'
import { PostgresClock } from './postgres-clock.ts'
import { acquireKeys, findKey } from './postgres-idempotency-keys.ts'
import { compareAndSet, deleteExpiredPredictionOwners, insertPredictionOwners, insertTasks, numberOrNull, postgresRowToTask, taskColumnList, toPredictionOwners, type CompareAndSet } from './postgres-task-table.ts'
import { SingleFlight } from '../../runtime/single-flight.ts'
import { StartError } from '../../runtime/start-error.ts'
import type { TaskEvent } from '../task-event.ts'
import { TaskEventChannel } from './task-event-channel.ts'
import { isOpen, applyTransition, openStates, type Transition, type Task } from '../../tasks/task.ts'
import type { CallKind, InFlightPrediction, TaskListQuery, TransitionOutcome, TaskStore } from '../task-store.ts'
import { IllegalTransitionError, StoreUnavailableError } from '../store-errors.ts'
import { PostgresWriteBatcher } from './postgres-write-batcher.ts'

export interface PostgresTaskStoreOptions {
  /** `postgres://…` */
  databaseUrl: string
  /** another clock than the database's, for tests; ms since the epoch */
  now?: (() => number) | undefined
  log: Log
  /** ms to wait at the start for a database that is away; 30 s where nothing is said */
  startTimeoutMs?: number
}

const open = `task.state in (${openStates.map((state) => `'${state}'`).join(', ')})`
/** In the words of the indexes, or they would not be used. */
const statusExpression = "(case when state in ('queued', 'submitting') then 'pending' when state = 'generating' then 'processing' else state end)"
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const batching = { maxBatchSize: 100, maxConcurrentBatches: 2, timeoutMs: requestTimeoutMs }
const maxBatchedReads = 500
const unresolved = `submission is not null and prediction_id is null and (state = 'submitting' or (state = 'failed' and failure = 'canceled'
  and not exists (select 1 from prediction_owner where task_id = task.id)))`
const uniqueViolation = '23505'
/** Of jobs that go ahead: of a task that has been submitted and has lost its holder, and of one that is past its deadline. */
const submittedPriority = 1
const overduePriority = 2
const missingJobsIntervalMs = 60_000
const missingJobsBatch = 1_000

/**
 * The store for many instances: one PostgreSQL for all. A task's job is written in the task's own transaction, and
 * whoever holds the job works on the task.
 * @throws StartError when the database cannot be used
 */
export async function createPostgresTaskStore (options: PostgresTaskStoreOptions): Promise<TaskStore> {
  const database = await openPostgres(options)
  const news = new TaskEventChannel(database, options.log)
  const clock = await PostgresClock.start(database, options.log).catch(async (error: unknown) => {
    await database.close()
    throw error
  })
  const store = new PostgresTaskStore(database, news, clock, options)
  try {
    await database.withRetry(() => news.listen((heard) => store.notify(heard)))
    return store
  } catch (error) {
    await store.close()
    throw new StartError(`DATABASE_URL cannot be used: ${databaseAddress(options.databaseUrl)} takes no LISTEN`, { cause: error })
  }
}

interface IdempotentInsert { task: Task, request: IdempotentRequest }

class PostgresTaskStore implements TaskStore {
  #database
  #leases
  #events
  #listeners: Array<(news: TaskEvent) => void> = []
  #clock
  #log
  #inserts
  #idempotentInserts
  /** Of those who come with one key at the same time, one asks the database who holds it. */
  #keyLookups = new SingleFlight<StoredKey>()
  #transitions
  #reads
  #missingJobsTimer
  #addingJobs: Promise<void> | undefined
  /** A connection that was lost is waited for; a table that is gone or damaged is not. */
  #claims = new ClaimHealth((error) => error instanceof StoreUnavailableError && !isRetryable(error.cause))
  #isClosed = false
  #instanceId = randomUUID()
  readonly deliveries
  readonly isExclusive = false
  readonly now

  constructor (database: PostgresDatabase, news: TaskEventChannel, clock: PostgresClock, { now = clock.now, log }: PostgresTaskStoreOptions) {
    this.#database = database
    this.#events = news
    this.#clock = clock
    this.now = now
    this.#log = log
    this.#leases = new JobLeases<object>({ database, queue: generationQueue, log })
    this.#inserts = new PostgresWriteBatcher<Task, Task>({ commit: (tasks) => this.#insert(tasks), keyOf: ({ id }) => id, ...batching })
    this.#idempotentInserts = new PostgresWriteBatcher<IdempotentInsert, StoredKey>({ commit: (creates) => this.#insertIdempotent(creates), keyOf: keyName, ...batching })
    this.#transitions = new PostgresWriteBatcher<CompareAndSet, TransitionOutcome>({ commit: (moves) => this.#applyAll(moves), keyOf: ({ from }) => from.id, ...batching })
    // No cache: all reads of one turn become one query, and the next turn asks again.
    this.#reads = new DataLoader<string, Task | undefined>((ids) => this.#readAll(ids), {
      cache: false, maxBatchSize: maxBatchedReads, batchScheduleFn: (send) => { setImmediate(send) }
    })
    this.deliveries = new PostgresCallbackDeliveries({ database, loadTask: (taskId) => this.#reads.load(taskId), log })
    this.#missingJobsTimer = setInterval(() => this.#addMissingJobs(), missingJobsIntervalMs).unref()
  }

  async create (task: Task): Promise<Task> {
    this.#assertOpen()
    this.#claims.assertHealthy()
    await this.#inserts.run(task).catch((error: unknown) => this.#resolveUnknownOutcome(error, () => this.#reads.load(task.id)))
    return task
  }

  async createIdempotent (task: Task, request: IdempotentRequest): Promise<IdempotentOutcome> {
    this.#assertOpen()
    this.#claims.assertHealthy()
    const holder = await this.#keyLookups.run(keyName({ request }), () => this.#idempotentInserts.run({ task, request })
      .catch((error: unknown) => this.#resolveUnknownOutcome(error, () => findKey(this.#database, request))))
    return holder.row.task_id === task.id ? { outcome: 'created' } : compareWithStoredKey(holder, request)
  }

  async get (id: string): Promise<Task | undefined> {
    this.#assertOpen()
    return uuid.test(id) ? this.#reads.load(id) : undefined
  }

  async applyTransition (task: Task, transition: Transition): Promise<TransitionOutcome> {
    const after = applyTransition(task, transition, this.now())
    if (after === undefined) throw new IllegalTransitionError(task, transition)
    return this.#transitions.run({ from: task, to: after })
  }

  async claim (limit: number): Promise<Task[]> {
    return this.#claims.track(async () => {
      const tasks = await this.#loadTasks(await asUnavailable(() => this.#leases.claim(limit)))
      this.#claims.recordSuccess()
      return tasks
    })
  }

  async claimOverdue (now: number, limit: number): Promise<Task[]> {
    return this.#claimAhead(`${open} and deadline_at <= $3 order by deadline_at`, [now], { priority: overduePriority, limit })
  }

  async claimSubmitted (limit: number): Promise<Task[]> {
    return this.#claimAhead(`(task.state = 'generating' or (task.state = 'submitting' and submission is not null and prediction_id is null))
      order by task.id`, [], { priority: submittedPriority, limit })
  }

  /**
   * Lets the jobs of these tasks go ahead of all others, and claims them.
   * @param which ends a query of tasks and their jobs; its parameters begin at $3
   */
  async #claimAhead (which: string, values: unknown[], { priority, limit }: { priority: number, limit: number }): Promise<Task[]> {
    const { boss, withRetry, query } = this.#database
    const waiting = await this.#claims.track(() => query(`select task.id, job.priority from task join pgboss.job on job.name = $1 and job.id = task.id
      where job.state < 'active' and ${which} limit $2`, [generationQueue, limit, ...values]))
    if (waiting.length === 0) return []
    // The public way to change a job: it leaves those alone that an instance has fetched meanwhile.
    await Promise.all(waiting.filter((job) => Number(job.priority) < priority)
      .map(({ id }) => withRetry(() => boss.update(generationQueue, undefined, { id: String(id), priority }))))
    return this.#loadTasks(await asUnavailable(() => this.#leases.claim(Math.min(limit, waiting.length), priority)))
  }

  async release (id: string): Promise<void> {
    const task = await this.get(id).catch((error: unknown) => {
      // No work is done on it any more, so its lease must not be renewed: it lapses, and another instance goes on.
      this.#leases.abandon([id])
      throw error
    })
    await asUnavailable(() => this.#leases.release(id, task === undefined || !isOpen(task)))
  }

  onLeaseLost (listener: (taskId: string) => void): void {
    this.#leases.onLost((taskId) => {
      this.#log.warn({ task_id: taskId }, 'The lease of a task was lost; another instance goes on with it')
      listener(taskId)
    })
  }

  async list ({ status, style, before, limit }: TaskListQuery): Promise<Task[]> {
    const values: unknown[] = []
    const conditions = Object.entries({ [`${statusExpression} =`]: status, 'style =': style, 'id <': before })
      .flatMap(([comparison, value]) => value === undefined ? [] : [`${comparison} $${values.push(value)}`])
    const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
    const rows = await this.#database.query(`select ${taskColumnList} from task ${where} order by id desc limit $${values.push(limit)}`, values)
    return rows.map(postgresRowToTask)
  }

  async remove (task: Task): Promise<boolean> {
    const isRemoved = await this.#delete(task).catch((error: unknown) => this.#resolveUnknownOutcome(error, async () => {
      return await this.#reads.load(task.id) === undefined ? true : undefined
    }))
    // Whatever came of it: where a commit was not heard of, the second try finds nothing to delete.
    this.#publishChanges([task.id])
    return isRemoved
  }

  async #delete (task: Task): Promise<boolean> {
    let tries = 0
    return this.#database.transaction(async (db) => {
      tries++
      const { rows } = await db.executeSql('delete from task where id = $1 and version = $2 returning id', [task.id, task.version])
      if (rows.length > 0 || tries === 1) return rows.length > 0
      // The first try may have deleted it without being heard of.
      return (await db.executeSql('select from task where id = $1', [task.id])).rows.length === 0
    })
  }

  onEvent (listener: (news: TaskEvent) => void): void {
    this.#listeners.push(listener)
  }

  notify (news: TaskEvent): void {
    for (const tell of this.#listeners) tell(news)
  }

  async requestPoll (taskIds: string[]): Promise<void> {
    this.#events.publish('poll_requested', taskIds)
  }

  /** After the commit: NOTIFY within it would take a lock of the whole cluster until the commit is on the disk. */
  #publishChanges (taskIds: string[]): void {
    this.#events.publish('changed', taskIds)
    this.notify({ kind: 'changed', taskIds, isLocal: true })
  }

  async listInFlight (): Promise<InFlightPrediction[]> {
    const rows = await this.#database.query("select id, prediction_id, prediction_created_at from task where state = 'generating'")
    return rows.map((row) => ({
      taskId: String(row.id), predictionId: String(row.prediction_id), predictionCreatedAt: numberOrNull(row.prediction_created_at)
    }))
  }

  async acquireSweep (intervalMs: number): Promise<boolean> {
    const taken = await this.#database.query(
      "update sweep set due_at = clock_timestamp() + $1 * interval '1 ms' where due_at <= clock_timestamp() returning 1", [intervalMs])
    return taken.length > 0
  }

  async listUnresolvedSubmissions (now: number): Promise<Task[]> {
    const rows = await this.#database.query(`select ${taskColumnList} from task where ${unresolved} and deadline_at > $1`, [now])
    return rows.map(postgresRowToTask)
  }

  async findPredictionOwners (predictionIds: string[]): Promise<Map<string, string>> {
    const rows = await this.#database.query('select prediction_id, task_id from prediction_owner where prediction_id = any($1)', [predictionIds])
    return new Map(rows.map((row) => [String(row.prediction_id), String(row.task_id)]))
  }

  async recordPredictionOwner (predictionId: string, taskId: string): Promise<boolean> {
    const owner = { prediction_id: predictionId, task_id: taskId, recorded_at: this.now() }
    return this.#database.transaction(async (db) => (await insertPredictionOwners(db, [owner])).has(predictionId))
  }

  async acquireSearchLease (ttlMs: number): Promise<boolean> {
    const taken = await this.#database.query(`update search_lease set holder = $1, expires_at = clock_timestamp() + $2 * interval '1 ms'
      where holder = $1 or expires_at <= clock_timestamp() returning 1`, [this.#instanceId, ttlMs])
    return taken.length > 0
  }

  async releaseSearchLease (): Promise<void> {
    await this.#database.query("update search_lease set expires_at = '-infinity' where holder = $1", [this.#instanceId])
  }

  callBudget (kind: CallKind, perMinute: number): CallBudget {
    return new PostgresCallBudget(this.#database, kind, perMinute)
  }

  async ping (): Promise<void> {
    this.#assertOpen()
    this.#claims.assertHealthy()
    await this.#database.query('select from task limit 1')
  }

  async close (): Promise<void> {
    if (this.#isClosed) return
    clearInterval(this.#missingJobsTimer)
    await Promise.all([this.#inserts.drain(), this.#idempotentInserts.drain(), this.#transitions.drain(), this.#addingJobs])
    await Promise.all([this.#leases.close(), this.deliveries.close()])
    await Promise.all([this.#events.close(), this.#clock.close()])
    this.#isClosed = true
    await this.#database.close()
  }

  /**
   * For a write that failed: where its commit was under way, what is stored tells whether it has happened.
   * @param find what is there only where it has
   * @throws the error of the write where nothing was found, or nothing could be read
   */
  async #resolveUnknownOutcome<T> (error: unknown, find: () => Promise<T | undefined>): Promise<T> {
    if (!(error instanceof StoreUnavailableError) || !error.isOutcomeUnknown) throw error
    const found = await withTimeout(requestTimeoutMs, find()).catch((err: unknown) => {
      this.#log.debug({ err }, 'Whether a write has happened could not be read')
    })
    if (found === undefined) throw error
    return found
  }

  #assertOpen (): void {
    if (this.#isClosed) throw new StoreUnavailableError(new Error('The store is closed'))
  }

  async #insert (tasks: Task[]): Promise<Task[]> {
    await this.#database.transaction((db) => insertTasks(db, tasks, this.#database))
    return tasks
  }

  async #insertIdempotent (creates: IdempotentInsert[]): Promise<StoredKey[]> {
    const rows = creates.map(({ task, request }) => toKeyRow(request, task.id, this.now()))
    return this.#database.transaction(async (db) => {
      const found = new Map((await acquireKeys(db, rows)).map((holder) => [keyName({ request: holder.row }), holder]))
      const holders = creates.map(({ task, request }) => {
        const holder = found.get(keyName({ request }))
        if (holder === undefined) throw new Error('A key that was taken in this transaction is not there')
        return holder.row.task_id === task.id ? { row: holder.row, hasTask: true } : holder
      })
      const tasks = creates.filter(({ task }, index) => holders[index]?.row.task_id === task.id).map(({ task }) => task)
      if (tasks.length > 0) await insertTasks(db, tasks, this.#database)
      return holders
    })
  }

  /** A prediction that is taken undoes the whole group, so each of its moves is then made on its own. */
  async #applyAll (moves: CompareAndSet[]): Promise<TransitionOutcome[]> {
    try {
      const moved = await this.#database.transaction(async (db) => {
        const ids = await compareAndSet(db, moves)
        await this.#insertOwners(db, moves.filter(({ from, to }) => ids.has(to.id) && from.predictionId === null))
        const toTell = moves.filter(({ to }) => ids.has(to.id) && needsCallback(to))
        await insertDeliveries(db, toTell.map(({ to }) => ({ taskId: to.id, attempt: 1, inMs: 0 })), this.#database)
        return ids
      })
      // All of them: where a commit was not heard of, the second try does not know what the first one has moved.
      this.#publishChanges(moves.map(({ from }) => from.id))
      if (moves.some(({ to }) => needsCallback(to))) this.deliveries.notifyDue()
      return moves.map(({ from, to }) => moved.has(from.id) ? { outcome: 'applied', task: to } : { outcome: 'stale' })
    } catch (error) {
      if (!isPredictionTaken(error)) throw error
      if (moves.length === 1) return [{ outcome: 'prediction_taken' }]
      return (await Promise.all(moves.map((move) => this.#applyAll([move])))).flat()
    }
  }

  /** @throws PredictionTakenError where one of the predictions belongs to another task */
  async #insertOwners (db: Database, moves: CompareAndSet[]): Promise<void> {
    const owners = moves.flatMap(({ to }) => toPredictionOwners(to))
    const owned = await insertPredictionOwners(db, owners)
    if (owned.size < owners.length) throw new PredictionTakenError('A prediction belongs to another task')
  }

  async #readAll (ids: readonly string[]): Promise<Array<Task | undefined>> {
    const rows = await this.#database.query(`select ${taskColumnList} from task where id = any($1::uuid[])`, [ids])
    const tasks = new Map(rows.map((row) => [row.id, postgresRowToTask(row)]))
    return ids.map((id) => tasks.get(id))
  }

  /**
   * Open tasks in the order of the jobs; the job of any other one is over. Whatever fails for one job leaves the others
   * alone: all of them are leased to this instance now, and only what is returned is worked on.
   * @throws StoreUnavailableError where none of them could be read
   */
  async #loadTasks (jobs: Array<{ id: string }>): Promise<Task[]> {
    const reads = await Promise.allSettled(jobs.map(async ({ id }) => ({ id, task: await this.#reads.load(id) })))
    const found = reads.flatMap((read) => read.status === 'fulfilled' ? [read.value] : [])
    this.#abandonUnread(jobs, reads.filter((read) => read.status === 'rejected'), found)
    const ended = found.filter(({ task }) => task === undefined || !isOpen(task))
    await Promise.all(ended.map(({ id }) => this.#leases.release(id, true))).catch((err: unknown) => {
      this.#log.warn({ err }, 'The jobs of tasks that have ended could not be handed back; their leases lapse')
    })
    return found.flatMap(({ task }) => task !== undefined && isOpen(task) ? [task] : [])
  }

  #abandonUnread (jobs: Array<{ id: string }>, failures: PromiseRejectedResult[], found: Array<{ id: string }>): void {
    const [first] = failures
    if (first === undefined) return
    const isFound = new Set(found.map(({ id }) => id))
    this.#leases.abandon(jobs.flatMap(({ id }) => isFound.has(id) ? [] : [id]))
    if (found.length === 0) throw first.reason
    this.#log.warn({ err: first.reason, tasks: failures.length }, 'Some tasks that were claimed could not be read; their leases lapse')
  }

  /** Gives a job to every open task that has none, wherever it came from. */
  #addMissingJobs (): void {
    this.#addingJobs ??= this.#insertMissingJobs()
      .catch((err: unknown) => this.#log.warn({ err }, 'Could not look for tasks without a job'))
      .finally(() => { this.#addingJobs = undefined })
  }

  async #insertMissingJobs (): Promise<void> {
    const rows = await this.#database.query(`select id from task where ${open} and not exists (
      select from pgboss.job where job.name = $1 and job.id = task.id) limit $2`, [generationQueue, missingJobsBatch])
    if (rows.length > 0) await this.#database.boss.insert(generationQueue, rows.map(({ id }) => ({ id: String(id) })))
    await this.#database.query('delete from idempotency_key where created_at <= $1', [this.now() - keyTtlMs])
    await deleteExpiredPredictionOwners(this.#database, this.now())
  }
}

function keyName ({ request: { scope, key } }: { request: Pick<IdempotentRequest, 'scope' | 'key'> }): string {
  return `${scope} ${key}`
}

class PredictionTakenError extends Error {
  override name = 'PredictionTakenError'
}

function isPredictionTaken (error: unknown): boolean {
  return error instanceof PredictionTakenError || (error instanceof StoreUnavailableError && errorCode(error.cause) === uniqueViolation)
}

async function asUnavailable<T> (work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof StoreUnavailableError ? error : new StoreUnavailableError(error, { isTransient: isTransient(error) })
  }
}

/** @throws Error where the work takes longer than `ms`; it is not ended by that */
async function withTimeout<T> (ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => { timer = setTimeout(() => reject(new Error(`Nothing within ${ms} ms`)), ms) })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
