import { LRUCache } from 'lru-cache'
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { LocalCallBudget, type CallBudget } from '../../rate-limit/call-budget.ts'
import { needsCallback, type DueDelivery } from '../callback-deliveries.ts'
import { ClaimHealth } from '../claim-health.ts'
import { SqliteWriteBatcher } from './sqlite-write-batcher.ts'
import { keyTtlMs, toKeyRow, compareWithStoredKey, type IdempotentRequest, type StoredKey, type KeyRow, type IdempotentOutcome } from '../idempotency-key.ts'
import type { Log } from '../../runtime/log.ts'
import { predictionOwnerTtlMs } from '../prediction-owner.ts'
import { readDeliveries, SqliteCallbackDeliveries } from './sqlite-callback-deliveries.ts'
import { isTransient, openDatabase, sqliteResult, sqliteResultCode } from './sqlite-database.ts'
import { SqliteFileHealth } from './sqlite-file-health.ts'
import { StartError } from '../../runtime/start-error.ts'
import type { TaskEvent } from '../task-event.ts'
import { isOpen, applyTransition, openStates, type Transition, type Task } from '../../tasks/task.ts'
import { toInFlightPrediction, taskToRow, taskColumns, rowToTask, type TaskRow } from '../task-row.ts'
import type { CallKind, InFlightPrediction, TaskListQuery, TransitionOutcome, TaskStore } from '../task-store.ts'
import { IllegalTransitionError, StoreUnavailableError } from '../store-errors.ts'

export interface SqliteTaskStoreOptions {
  /** The folder of the database file, made if missing; `:memory:` keeps everything in memory. */
  dataDir: string
  /** the store's clock, ms since the epoch */
  now: () => number
  log: Log
}

/** A row costs ten times as much as a task from memory; this many of the longest dreams are 10 MB. */
const maxCachedTasks = 1_000
/** Each move leaves the others as they are, and with them the entries of most indexes. */
const changingColumns = taskColumns.filter((column) => !['id', 'dream', 'style', 'created_at', 'deadline_at'].includes(column))
const behindAllIds = '~'
const databaseFile = 'dreamreel.db'
const unresolved = `submission is not null and prediction_id is null and (state = 'submitting' or (state = 'failed' and failure = 'canceled'
  and not exists (select 1 from prediction_owner where task_id = task.id)))`
const open = `state in (${openStates.map((state) => `'${state}'`).join(', ')})`

/**
 * The store for one process on one machine: a SQLite file that belongs to this process alone.
 * @throws StartError when the folder cannot be used
 */
export function createSqliteTaskStore (options: SqliteTaskStoreOptions): TaskStore {
  return new SqliteTaskStore(options)
}

export interface TaskFolder {
  /** Every task, ended ones too, in the order of their creation. */
  tasks: (batchSize: number) => Generator<Task[]>
  /** What callback addresses are still to be told. */
  deliveries: (now: number) => DueDelivery[]
  /** What is noted of all requests with a key. */
  keys: (batchSize: number) => Generator<KeyRow[]>
  close: () => void
}

/**
 * Opens a folder that has tasks, to read all of them. Until `close` it belongs to this process alone.
 * @throws StartError when it has no database, another process works on it or a newer release wrote it
 */
export function openTaskFolder (dataDir: string): TaskFolder {
  if (!existsSync(join(dataDir, databaseFile))) throw new StartError(`DATA_DIR ${dataDir} holds no tasks: there is no ${databaseFile} in it`)
  const database = openDatabase(databasePath(dataDir))
  const next = database.prepare('select * from task where seq > ? order by seq limit ?')
  const nextKeys = database.prepare('select * from idempotency_key where (scope, key) > (?, ?) order by scope, key limit ?')
  return {
    * tasks (batchSize) {
      let seq = 0
      for (let found = next.all(seq, batchSize); found.length > 0; found = next.all(seq, batchSize)) {
        const batch = found.map(asTaskRow)
        yield batch.map(rowToTask)
        seq = batch.at(-1)?.seq ?? seq
      }
    },
    deliveries: (now) => readDeliveries(database, now),
    * keys (batchSize) {
      let [scope, key] = ['', '']
      for (let found = nextKeys.all(scope, key, batchSize); found.length > 0; found = nextKeys.all(scope, key, batchSize)) {
        const batch = found.map(asKeyRow)
        yield batch
        ;({ scope, key } = batch.at(-1) ?? { scope, key })
      }
    },
    close: () => database.close()
  }
}

class SqliteTaskStore implements TaskStore {
  #database
  #file
  #writes
  #claims = new ClaimHealth(() => true)
  #statements
  #lists = new Map<string, StatementSync>()
  /** Every open task up to this `seq` is held. */
  #heldUpTo = 0
  #held = new Set<string>()
  #listeners: Array<(news: TaskEvent) => void> = []
  /** What was read last, as it is on disk: nobody else writes to the file, and a move drops its task from here. */
  #cache = new LRUCache<string, Task>({ max: maxCachedTasks })
  readonly deliveries
  readonly isExclusive = true
  readonly now

  constructor ({ dataDir, now, log }: SqliteTaskStoreOptions) {
    const path = databasePath(dataDir)
    this.#database = openDatabase(path)
    this.#file = new SqliteFileHealth(path, log)
    this.#writes = new SqliteWriteBatcher(this.#database, this.#file)
    this.now = now
    this.deliveries = new SqliteCallbackDeliveries({
      database: this.#database, writes: this.#writes, loadTask: (taskId) => this.#loadTask(taskId), read: (work) => this.#read(work), now
    })
    const prepare = (sql: string): StatementSync => this.#database.prepare(sql)
    this.#statements = {
      insert: prepare(`insert into task (${taskColumns.join(', ')}) values (${taskColumns.map(() => '?').join(', ')})`),
      update: prepare(`update task set ${changingColumns.map((name) => `${name} = ?`).join(', ')} where id = ? and version = ?`),
      get: prepare('select * from task where id = ?'),
      open: prepare(`select * from task where ${open} and seq > ? order by seq`),
      findKey: prepare('select * from idempotency_key where scope = ? and key = ?'),
      insertKey: prepare("insert into idempotency_key (scope, key, fingerprint, task_id, code, created_at) select ?1 ->> 'scope', ?1 ->> 'key', ?1 ->> 'fingerprint', ?1 ->> 'task_id', ?1 ->> 'code', ?1 ->> 'created_at'"),
      forgetKeys: prepare('delete from idempotency_key where created_at <= ?'),
      remove: prepare('delete from task where id = ? and version = ?'),
      unresolved: prepare(`select * from task where ${unresolved} and deadline_at > ?`),
      owners: prepare('select prediction_id, task_id from prediction_owner where prediction_id in (select value from json_each(?))'),
      insertOwner: prepare('insert or ignore into prediction_owner (prediction_id, task_id, recorded_at) values (?, ?, ?)'),
      forgetOwners: prepare('delete from prediction_owner where recorded_at <= ?'),
      submitted: prepare(`select id from task where state = 'generating'
        union all select id from task where submission is not null and prediction_id is null and state = 'submitting'`),
      inFlight: prepare("select * from task where state = 'generating'"),
      overdue: prepare(`select * from task where ${open} and deadline_at <= ? order by deadline_at`)
    }
  }

  async create (task: Task): Promise<Task> {
    this.#assertHealthy()
    return this.#writes.run(() => {
      this.#statements.insert.run(...taskValues(task))
      return task
    })
  }

  async createIdempotent (task: Task, request: IdempotentRequest): Promise<IdempotentOutcome> {
    this.#assertHealthy()
    return this.#writes.run((): IdempotentOutcome => {
      const now = this.now()
      this.#statements.forgetKeys.run(now - keyTtlMs)
      const known = this.#statements.findKey.get(request.scope, request.key)
      if (known !== undefined) return compareWithStoredKey(this.#toStoredKey(asKeyRow(known)), request)
      this.#statements.insertKey.run(JSON.stringify(toKeyRow(request, task.id, now)))
      this.#statements.insert.run(...taskValues(task))
      return { outcome: 'created' }
    })
  }

  async get (id: string): Promise<Task | undefined> {
    return this.#read(() => this.#loadTask(id))
  }

  async applyTransition (task: Task, transition: Transition): Promise<TransitionOutcome> {
    const after = applyTransition(task, transition, this.now())
    if (after === undefined) throw new IllegalTransitionError(task, transition)
    const outcome = await this.#writes.run(() => this.#compareAndSet(task, after))
    if (outcome.outcome === 'applied') this.#notifyChanged([task.id])
    if (outcome.outcome === 'applied' && needsCallback(outcome.task)) this.deliveries.notifyDue()
    return outcome
  }

  async claim (limit: number): Promise<Task[]> {
    return this.#claims.track(async () => {
      const claimed = this.#read(() => {
        const claimed: Task[] = []
        for (const row of rows(this.#statements.open, this.#heldUpTo)) {
          if (claimed.length === limit) break
          this.#heldUpTo = row.seq
          if (this.#hold(row.id)) claimed.push(rowToTask(row))
        }
        return claimed
      })
      this.#claims.recordSuccess()
      return claimed
    })
  }

  async claimOverdue (now: number, limit: number): Promise<Task[]> {
    return this.#claims.track(async () => this.#read(() => {
      const claimed: Task[] = []
      for (const row of rows(this.#statements.overdue, now)) {
        if (claimed.length === limit) break
        if (this.#hold(row.id)) claimed.push(rowToTask(row))
      }
      return claimed
    }))
  }

  async claimSubmitted (limit: number): Promise<Task[]> {
    return this.#claims.track(async () => this.#read(() => {
      const claimed: Task[] = []
      // By their ids alone: nearly all of them are held, and a row costs ten times as much.
      for (const { id } of this.#statements.submitted.iterate()) {
        if (claimed.length === limit) break
        const task = this.#held.has(String(id)) ? undefined : this.#loadTask(String(id))
        if (task !== undefined && this.#hold(task.id)) claimed.push(task)
      }
      return claimed
    }))
  }

  async release (id: string): Promise<void> {
    this.#read(() => {
      const task = this.#loadTask(id)
      if (this.#held.delete(id) && task !== undefined && isOpen(task)) this.#heldUpTo = 0
    })
  }

  async list ({ status, style, before, limit }: TaskListQuery): Promise<Task[]> {
    const filters = Object.entries({ status, style }).flatMap(([column, value]) => value === undefined ? [] : [{ column, value }])
    return this.#read(() => {
      const statement = this.#prepareList(filters.map(({ column }) => column))
      return Array.from(rows(statement, ...filters.map(({ value }) => value), before ?? behindAllIds, limit), rowToTask)
    })
  }

  async remove (task: Task): Promise<boolean> {
    const isRemoved = await this.#writes.run(() => {
      this.#cache.delete(task.id)
      const isRemoved = this.#statements.remove.run(task.id, task.version).changes === 1
      if (isRemoved) this.deliveries.remove(task.id)
      return isRemoved
    })
    if (isRemoved) this.#notifyChanged([task.id])
    return isRemoved
  }

  onEvent (listener: (news: TaskEvent) => void): void {
    this.#listeners.push(listener)
  }

  /** Nobody else can hold a task of this file, wait for one, or have one to sweep for. */
  onLeaseLost (): void {}

  async requestPoll (): Promise<void> {}

  async acquireSweep (): Promise<boolean> {
    return true
  }

  async listInFlight (): Promise<InFlightPrediction[]> {
    return this.#read(() => Array.from(rows(this.#statements.inFlight), (row) => toInFlightPrediction(rowToTask(row))))
  }

  async listUnresolvedSubmissions (now: number): Promise<Task[]> {
    return this.#read(() => Array.from(rows(this.#statements.unresolved, now), rowToTask))
  }

  async findPredictionOwners (predictionIds: string[]): Promise<Map<string, string>> {
    return this.#read(() => this.#findOwners(predictionIds))
  }

  recordPredictionOwner (predictionId: string, taskId: string): Promise<boolean> {
    return this.#writes.run(() => {
      const owner = this.#findOwners([predictionId]).get(predictionId)
      if (owner === undefined) this.#insertOwner(predictionId, taskId)
      return owner === undefined || owner === taskId
    })
  }

  async acquireSearchLease (): Promise<boolean> {
    return true
  }

  async releaseSearchLease (): Promise<void> {}

  callBudget (_kind: CallKind, perMinute: number): CallBudget {
    return new LocalCallBudget({ perMinute, now: () => performance.now() })
  }

  async ping (): Promise<void> {
    this.#assertHealthy()
    this.#read(() => {
      this.#file.assertInPlace()
      this.#statements.get.get('')
    })
  }

  async close (): Promise<void> {
    this.#writes.flush()
    this.#cache.clear()
    if (this.#database.isOpen) this.#database.close()
  }

  /** Not by way of `#find`: a transaction that is undone must leave nothing in memory. */
  #toStoredKey (row: KeyRow): StoredKey {
    return { row, hasTask: this.#statements.get.get(row.task_id) !== undefined }
  }

  /** One statement for each combination of filters: one for all of them could not use their indexes. */
  #prepareList (columns: string[]): StatementSync {
    const sql = `select * from task where ${columns.map((column) => `${column} = ? and `).join('')}id < ? order by id desc limit ?`
    const known = this.#lists.get(sql) ?? this.#database.prepare(sql)
    this.#lists.set(sql, known)
    return known
  }

  /** What cannot be worked on must not be accepted. Moves go on: what was paid for is kept wherever it still can be. */
  #assertHealthy (): void {
    this.#read(() => this.#file.assertUndamaged())
    this.#claims.assertHealthy()
  }

  #notifyChanged (taskIds: string[]): void {
    for (const tell of this.#listeners) tell({ kind: 'changed', taskIds, isLocal: true })
  }

  #loadTask (id: string): Task | undefined {
    const recent = this.#cache.get(id)
    if (recent !== undefined) return recent
    const row = this.#statements.get.get(id)
    if (row === undefined) return undefined
    const task = rowToTask(asTaskRow(row))
    this.#cache.set(id, task)
    return task
  }

  /** Check and write are not separated by an await, so nothing can come between them. */
  #compareAndSet (task: Task, moved: Task): TransitionOutcome {
    this.#cache.delete(task.id)
    const boundId = task.predictionId === null ? moved.predictionId : null
    if (boundId !== null && (this.#findOwners([boundId]).get(boundId) ?? task.id) !== task.id) return { outcome: 'prediction_taken' }
    try {
      const { changes } = this.#statements.update.run(...taskValues(moved, changingColumns), task.id, task.version)
      if (changes === 0) return { outcome: 'stale' }
    } catch (error) {
      // The row of the owner is gone after two days, the task itself may still be there.
      if (sqliteResultCode(error) !== sqliteResult.uniqueViolation) throw error
      return { outcome: 'prediction_taken' }
    }
    if (boundId !== null) this.#insertOwner(boundId, task.id)
    if (needsCallback(moved)) this.deliveries.add(moved.id)
    return { outcome: 'applied', task: moved }
  }

  #findOwners (predictionIds: string[]): Map<string, string> {
    return new Map(this.#statements.owners.all(JSON.stringify(predictionIds)).map((row) => [String(row.prediction_id), String(row.task_id)]))
  }

  #insertOwner (predictionId: string, taskId: string): void {
    const now = this.now()
    this.#statements.forgetOwners.run(now - predictionOwnerTtlMs)
    this.#statements.insertOwner.run(predictionId, taskId, now)
  }

  /** False where the task is held already. */
  #hold (id: string): boolean {
    if (this.#held.has(id)) return false
    this.#held.add(id)
    return true
  }

  #read<T> (work: () => T): T {
    try {
      return work()
    } catch (error) {
      this.#file.recordError(error)
      throw new StoreUnavailableError(error, { isTransient: isTransient(error) })
    }
  }
}

function databasePath (dataDir: string): string {
  if (dataDir === ':memory:') return dataDir
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    accessSync(dataDir, constants.W_OK)
  } catch (error) {
    throw new StartError(`DATA_DIR ${dataDir} cannot be written to`, { cause: error })
  }
  return join(dataDir, databaseFile)
}

function taskValues (task: Task, columns: ReadonlyArray<keyof TaskRow> = taskColumns): SQLInputValue[] {
  const row = taskToRow(task)
  return columns.map((column) => row[column])
}

/** The boundary where a row becomes typed: the table is `strict`, and written with `valuesOf` alone. */
function asTaskRow (row: unknown): TaskRow & { seq: number } {
  return row as TaskRow & { seq: number }
}

function asKeyRow (row: unknown): KeyRow {
  return row as KeyRow
}

function * rows (statement: StatementSync, ...parameters: SQLInputValue[]) {
  for (const row of statement.iterate(...parameters)) yield asTaskRow(row)
}
