import { LocalCallBudget, type CallBudget } from '../../rate-limit/call-budget.ts'
import type { Log } from '../../runtime/log.ts'
import { applyTransition, type Task, type Transition } from '../../tasks/task.ts'
import { taskCreated, taskTransitioned } from '../../telemetry/channels.ts'
import { needsCallback } from '../callback-deliveries.ts'
import { ClaimHealth } from '../claim-health.ts'
import { assignStartTags } from '../fair-order.ts'
import { compareWithStoredKey, toKeyRow, type IdempotentOutcome, type IdempotentRequest } from '../idempotency-key.ts'
import { noCaps, type OpenTaskCaps, type TooManyOpenTasks } from '../open-task-caps.ts'
import { IllegalTransitionError, StoreUnavailableError } from '../store-errors.ts'
import type { TaskEvent } from '../task-event.ts'
import { toInFlightPrediction } from '../task-row.ts'
import type { CallKind, CreateOutcome, InFlightPrediction, OpenTasks, TaskCount, TaskListQuery, TaskStore, TransitionOutcome } from '../task-store.ts'
import { SqliteCallbackDeliveries } from './sqlite-callback-deliveries.ts'
import { SqliteClaims } from './sqlite-claims.ts'
import { isTransient, openDatabase, readStoreId, sqliteResult, sqliteResultCode } from './sqlite-database.ts'
import { SqliteFileHealth } from './sqlite-file-health.ts'
import { SqliteIdempotencyKeys } from './sqlite-idempotency-keys.ts'
import { SqliteOpenTasks } from './sqlite-open-tasks.ts'
import { SqlitePredictionOwners } from './sqlite-prediction-owners.ts'
import { SqliteTaskTable } from './sqlite-task-table.ts'
import { SqliteWriteBatcher } from './sqlite-write-batcher.ts'
import { prepareTaskFolder } from './task-folder.ts'

export interface SqliteTaskStoreOptions {
  /** The folder of the database file, created if it is missing; `:memory:` keeps everything in memory. */
  dataDir: string
  /** the store's clock, ms since the epoch */
  now: () => number
  log: Log
}

/**
 * The store for one process on one machine: a SQLite file that belongs to this process alone.
 * @throws StartError when the folder cannot be used
 */
export function createSqliteTaskStore (options: SqliteTaskStoreOptions): TaskStore {
  return new SqliteTaskStore(options)
}

class SqliteTaskStore implements TaskStore {
  #database
  #file
  #writes
  #table
  #openTasks
  #keys
  #owners
  #claims
  #claimHealth = new ClaimHealth(() => true)
  #listeners: Array<(event: TaskEvent) => void> = []
  readonly deliveries
  readonly isExclusive = true
  readonly requestCounter = undefined
  readonly now

  constructor ({ dataDir, now, log }: SqliteTaskStoreOptions) {
    const path = prepareTaskFolder(dataDir)
    this.now = now
    this.#database = openDatabase(path)
    this.#file = new SqliteFileHealth(path, log)
    this.#table = new SqliteTaskTable(this.#database)
    this.#openTasks = new SqliteOpenTasks(this.#table)
    this.#writes = new SqliteWriteBatcher(this.#database, this.#file, () => this.#openTasks.forget())
    this.#keys = new SqliteIdempotencyKeys(this.#database)
    this.#owners = new SqlitePredictionOwners(this.#database, now)
    this.#claims = new SqliteClaims(this.#table)
    this.deliveries = new SqliteCallbackDeliveries({
      database: this.#database, writes: this.#writes, loadTask: (taskId) => this.#table.load(taskId), read: (work) => this.#read(work), now
    })
  }

  async create (task: Task, caps = noCaps): Promise<CreateOutcome> {
    this.#assertHealthy()
    const outcome = await this.#writes.run(() => this.#insert(task, caps))
    if (outcome.outcome === 'created' && taskCreated.hasSubscribers) taskCreated.publish({ task: outcome.task })
    return outcome
  }

  async createIdempotent (task: Task, request: IdempotentRequest, caps = noCaps): Promise<IdempotentOutcome | TooManyOpenTasks> {
    this.#assertHealthy()
    const outcome = await this.#writes.run((): IdempotentOutcome | TooManyOpenTasks => {
      const now = this.now()
      this.#keys.removeExpired(now)
      const row = this.#keys.find(request)
      if (row !== undefined) return compareWithStoredKey({ row, hasTask: this.#table.has(row.task_id) }, request)
      const inserted = this.#insert(task, caps)
      if (inserted.outcome !== 'created') return inserted
      this.#keys.insert(toKeyRow(request, task.id, now))
      return { outcome: 'created' }
    })
    if (outcome.outcome === 'created' && taskCreated.hasSubscribers) taskCreated.publish({ task })
    return outcome
  }

  async get (id: string): Promise<Task | undefined> {
    return this.#read(() => this.#table.load(id))
  }

  async applyTransition (task: Task, transition: Transition): Promise<TransitionOutcome> {
    const after = applyTransition(task, transition, this.now())
    if (after === undefined) throw new IllegalTransitionError(task, transition)
    const outcome = await this.#writes.run(() => this.#compareAndSet(task, after))
    if (outcome.outcome !== 'applied') return outcome
    this.#notifyChanged(task.id)
    if (needsCallback(task, after)) this.deliveries.notifyDue()
    if (taskTransitioned.hasSubscribers) taskTransitioned.publish({ transition: transition.type, from: task, to: after })
    return outcome
  }

  async remove (task: Task): Promise<boolean> {
    const isRemoved = await this.#writes.run(() => {
      const isRemoved = this.#table.remove(task)
      if (isRemoved) this.deliveries.remove(task.id)
      return isRemoved
    })
    if (isRemoved) this.#notifyChanged(task.id)
    return isRemoved
  }

  async getByFileName (name: string): Promise<Task | undefined> {
    return this.#read(() => this.#table.loadByFileName(name))
  }

  async filterFileNames (names: string[]): Promise<Set<string>> {
    return this.#read(() => new Set(names.filter((name) => this.#table.keepsFile(name))))
  }

  async listVideoWork (after: string | undefined, limit: number): Promise<Task[]> {
    return this.#read(() => this.#table.listVideoWork(after, limit))
  }

  async listExpired (retentionMs: number, limit: number): Promise<Task[]> {
    return this.#read(() => this.#table.listExpired(retentionMs, this.now(), limit))
  }

  async list (query: TaskListQuery): Promise<Task[]> {
    return this.#read(() => this.#table.list(query))
  }

  async claim (limit: number): Promise<Task[]> {
    return this.#claimHealth.track(async () => {
      const claimed = this.#read(() => this.#claims.claim(limit))
      this.#claimHealth.recordSuccess()
      return claimed
    })
  }

  async claimOverdue (now: number, limit: number): Promise<Task[]> {
    return this.#claimHealth.track(async () => this.#read(() => this.#claims.claimOverdue(now, limit)))
  }

  async claimSubmitted (limit: number): Promise<Task[]> {
    return this.#claimHealth.track(async () => this.#read(() => this.#claims.claimSubmitted(limit)))
  }

  async release (id: string): Promise<void> {
    this.#read(() => this.#claims.release(id))
  }

  /** No other process works on this file, so leases are never lost, and nothing has to be coordinated with other instances. */
  onLeaseLost (): void {}

  async requestPoll (): Promise<void> {}

  async acquireSweep (): Promise<boolean> {
    return true
  }

  async acquireLease (): Promise<boolean> {
    return true
  }

  async releaseLease (): Promise<void> {}

  onEvent (listener: (event: TaskEvent) => void): void {
    this.#listeners.push(listener)
  }

  async listInFlight (): Promise<InFlightPrediction[]> {
    return this.#read(() => this.#table.listGenerating().map(toInFlightPrediction))
  }

  async listUnresolvedSubmissions (now: number): Promise<Task[]> {
    return this.#read(() => this.#table.listUnresolvedSubmissions(now))
  }

  async findPredictionOwners (predictionIds: string[]): Promise<Map<string, string>> {
    return this.#read(() => this.#owners.find(predictionIds))
  }

  recordPredictionOwner (predictionId: string, taskId: string): Promise<boolean> {
    return this.#writes.run(() => {
      const owner = this.#owners.find([predictionId]).get(predictionId)
      if (owner === undefined) this.#owners.record(predictionId, taskId)
      return owner === undefined || owner === taskId
    })
  }

  async readId (): Promise<string> {
    return this.#read(() => readStoreId(this.#database))
  }

  callBudget (_kind: CallKind, perMinute: number): CallBudget {
    return new LocalCallBudget({ perMinute, now: () => performance.now() })
  }

  async summarizeOpen (limit: number): Promise<OpenTasks[]> {
    return this.#read(() => this.#table.summarizeOpen(limit))
  }

  async countActivity (since: number, limit: number): Promise<TaskCount[]> {
    return this.#read(() => this.#table.countActivity(since, limit))
  }

  countConnections (): undefined {}

  async ping (): Promise<void> {
    this.#assertHealthy()
    this.#read(() => {
      this.#file.assertInPlace()
      this.#table.has('')
    })
  }

  async close (): Promise<void> {
    this.#writes.flush()
    this.#table.clearCache()
    if (this.#database.isOpen) this.#database.close()
  }

  #insert (task: Task, caps: OpenTaskCaps): CreateOutcome {
    const reachedCap = this.#openTasks.findReachedCap(task.keyName, caps)
    if (reachedCap !== undefined) return reachedCap
    const [tagged = task] = assignStartTags([task], this.#table.readOpenTags(task.keyName))
    this.#table.insert(tagged)
    this.#openTasks.add(tagged)
    this.#claims.addQueued(tagged)
    return { outcome: 'created', task: tagged }
  }

  /** Check and write are one synchronous step, so no other write can happen between them. */
  #compareAndSet (before: Task, after: Task): TransitionOutcome {
    const attachedId = before.predictionId === null ? after.predictionId : null
    if (attachedId !== null && !this.#owners.isFreeFor(attachedId, after.id)) return { outcome: 'prediction_taken' }
    try {
      if (!this.#table.update(after, before.version)) return { outcome: 'stale' }
    } catch (error) {
      // The row of the owner is removed after two days, while the task that has the prediction may still be there.
      if (sqliteResultCode(error) !== sqliteResult.uniqueViolation) throw error
      return { outcome: 'prediction_taken' }
    }
    this.#openTasks.update(before, after)
    if (attachedId !== null) this.#owners.record(attachedId, after.id)
    if (needsCallback(before, after)) this.deliveries.add(after.id)
    return { outcome: 'applied', task: after }
  }

  /** A store that cannot work on tasks accepts no new ones. It still tries transitions, to record paid predictions if it can. */
  #assertHealthy (): void {
    this.#read(() => this.#file.assertUndamaged())
    this.#claimHealth.assertHealthy()
  }

  #notifyChanged (taskId: string): void {
    for (const notify of this.#listeners) notify({ kind: 'changed', taskIds: [taskId], isLocal: true })
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
