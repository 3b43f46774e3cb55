import type { CallBudget } from '../rate-limit/call-budget.ts'
import type { WindowCounter } from '../rate-limit/window-counter.ts'
import type { Style } from '../tasks/styles.ts'
import type { Transition, Task, TaskState, TaskStatus } from '../tasks/task.ts'
import type { CallbackDeliveries } from './callback-deliveries.ts'
import type { IdempotentRequest, IdempotentOutcome } from './idempotency-key.ts'
import type { OpenTaskCaps, TooManyOpenTasks } from './open-task-caps.ts'
import type { TaskEvent } from './task-event.ts'

/**
 * Where tasks are stored. Every backend gives these guarantees, and one test suite checks them:
 *
 * - Durable: when the promise of `create` or `applyTransition` resolves, the change survives `kill -9` and a power cut. The
 *   end of a task and the delivery to its callback address are one change.
 * - One outcome: `applyTransition` is a compare-and-set on the task's `version`. If several callers change the same task at
 *   the same time, one succeeds; the others get `stale` and have changed nothing. Only transitions of the table in `task.ts`
 *   are possible.
 * - One prediction, one task: a prediction id belongs to at most one task. This holds after the task was deleted, too, for
 *   as long as a search can find the prediction.
 * - One holder: a task that one instance has claimed is given to no other until it is released, has ended, or its holder is
 *   gone. After a crash, every open task can be claimed again.
 * - Failing loudly: when the backend cannot do its work (disk full, database unavailable), the promise rejects with
 *   `StoreUnavailableError`, and the call has changed nothing. The exception is an error with `isOutcomeUnknown`: a commit was
 *   under way, its answer was lost, and reading afterwards could not tell whether it happened.
 * - Caps hold: the number of open tasks is checked in the transaction that creates a task, for all instances together. A creation that
 *   is refused has stored nothing, also no idempotency key.
 */
export interface TaskStore {
  /**
   * The clock of everything that is stored, in ms since the epoch: deadlines and submissions use it. All instances that share
   * the store share it, whatever the clocks of their machines show.
   */
  readonly now: () => number
  /** @param caps none by default */
  create (task: Task, caps?: OpenTaskCaps): Promise<CreateOutcome>
  /**
   * Creates the task unless the key of the request has made one within 24 hours. Of requests with one key, one makes a task. The caps do
   * not concern a request whose task exists.
   */
  createIdempotent (task: Task, request: IdempotentRequest, caps?: OpenTaskCaps): Promise<IdempotentOutcome | TooManyOpenTasks>
  /** @param id lower-case; undefined for anything that is not the id of a task */
  get (id: string): Promise<Task | undefined>
  /** @param task as the caller last read it: the transition is applied only if the stored task is still the same */
  applyTransition (task: Task, transition: Transition): Promise<TransitionOutcome>
  /** Claims at most `limit` open tasks that no instance holds; those that are queued in the order of their start tags, see `fair-order.ts`. */
  claim (limit: number): Promise<Task[]>
  /** Claims tasks whose deadline is at or before `now` (ms since the epoch): ending them takes no work. */
  claimOverdue (now: number, limit: number): Promise<Task[]>
  /**
   * Claims tasks that have been submitted or are being submitted. They have been paid for, or may have been, so they go on
   * even while the provider accepts nothing new.
   */
  claimSubmitted (limit: number): Promise<Task[]>
  /** Releases a task that this instance holds, ended or not. */
  release (id: string): Promise<void>
  /** Calls `listener` with each task whose lease this instance has lost: it must stop working on the task. */
  onLeaseLost (listener: (taskId: string) => void): void
  /** Newest first: by id, which begins with the time of creation. */
  list (query: TaskListQuery): Promise<Task[]>
  /** Removes a task that has ended. False if it is gone already, or has changed. */
  remove (task: Task): Promise<boolean>
  /** The task whose video or poster has this name in the archive. */
  getByFileName (name: string): Promise<Task | undefined>
  /** Which of these names belong to the video or the poster of a task that is being stored or has been completed. */
  filterFileNames (names: string[]): Promise<Set<string>>
  /** Completed tasks with `videoWork`, in the order of their ids. @param after only tasks whose id is after this one's */
  listVideoWork (after: string | undefined, limit: number): Promise<Task[]>
  /** Ended tasks that are past their `expiryOf`, the longest ended first. @param retentionMs as given there */
  listExpired (retentionMs: number, limit: number): Promise<Task[]>
  /** Calls `listener` after each change of a task, here or on another instance. An event is only a hint to read again. */
  onEvent (listener: (event: TaskEvent) => void): void
  /** Asks the instances that hold these tasks to poll their predictions now. */
  requestPoll (taskIds: string[]): Promise<void>
  /** Every task that waits for a prediction, whichever instance holds it. */
  listInFlight (): Promise<InFlightPrediction[]>
  /**
   * Tasks that may have a prediction which no row names: those that are being submitted, and those that were canceled
   * meanwhile, until their deadline.
   * @param now ms since the epoch
   */
  listUnresolvedSubmissions (now: number): Promise<Task[]>
  /** The owners of those predictions that were ever attached to a task, or recorded with `recordPredictionOwner`. */
  findPredictionOwners (predictionIds: string[]): Promise<Map<string, string>>
  /**
   * Records that a prediction belongs to a task without attaching it, so that it is never attached to another task.
   * @returns false if it belongs to another task
   */
  recordPredictionOwner (predictionId: string, taskId: string): Promise<boolean>
  /** True for one instance at a time, for `ttlMs` from its last call: this instance does this work for all. */
  acquireLease (work: LeasedWork, ttlMs: number): Promise<boolean>
  /** Lets another instance acquire the lease at once. */
  releaseLease (work: LeasedWork): Promise<void>
  /** Whether the store belongs to one process at a time: a process that held a task before this one has certainly ended. */
  readonly isExclusive: boolean
  /** A random id that the store was given when it was created. A copy of its data has the same. */
  readId (): Promise<string>
  /** True for one instance in each interval: this instance sweeps for all. */
  acquireSweep (intervalMs: number): Promise<boolean>
  /** What calls of this kind may still use of the provider's rate limit, shared by all instances that share the store. */
  callBudget (kind: CallKind, perMinute: number): CallBudget
  /** Counts requests together with the other instances; undefined for a store that no other instance uses. */
  readonly requestCounter: WindowCounter | undefined
  /** The callback addresses that are still to be notified of the end of a task. */
  readonly deliveries: CallbackDeliveries
  /**
   * How many tasks are open, and since when. It reads at most `limit` of them, those with the earliest deadlines, so its cost has a
   * bound: beyond that, the numbers are too small.
   */
  summarizeOpen (limit: number): Promise<OpenTasks[]>
  /**
   * Counts the tasks that are open, and those that have ended since a time and were not removed meanwhile. It reads at most `limit`
   * of each: the open ones with the earliest deadlines, and those that ended last.
   * @param since ms since the epoch
   */
  countActivity (since: number, limit: number): Promise<TaskCount[]>
  /** The connections to the database at the moment; undefined for a store that has none. */
  countConnections (): ConnectionCounts | undefined
  /** Resolves if the store can be read, rejects with StoreUnavailableError if it cannot. */
  ping (): Promise<void>
  close (): Promise<void>
}

/** The open tasks of one state and style. The time is ms since the epoch. */
export interface OpenTasks { state: TaskState, style: Style, tasks: number, oldestCreatedAt: number }

/**
 * Tasks of one state that were created in one minute and have ended in one minute. A minute is a number since the epoch; that of the end
 * is the one of the last change that clients have seen, and null for open tasks. The time is ms since the epoch.
 */
export interface TaskCount { state: TaskState, createdMinute: number, endedMinute: number | null, tasks: number, oldestCreatedAt: number }

/** `waiting`: queries that wait for a connection. */
export interface ConnectionCounts { max: number, inUse: number, idle: number, waiting: number }

export interface TaskListQuery {
  status: TaskStatus | undefined
  style: Style | undefined
  /** only tasks that this API key has made; undefined for all, with or without a key */
  keyName: string | undefined
  /** only tasks whose id is before this one's */
  before: string | undefined
  limit: number
}

/** A task that waits for a prediction. The time is ms since the epoch, by the provider's clock; null if it is not known. */
export interface InFlightPrediction { taskId: string, predictionId: string, predictionCreatedAt: number | null }

/** `search`: for predictions that no row names. `videos`: late copies and posters. `retention`: removing what has expired. */
export type LeasedWork = 'search' | 'videos' | 'retention'

export type CallKind = 'create' | 'read'

/** `task` has the start tag that the store gave it. */
export type CreateOutcome = { outcome: 'created', task: Task } | TooManyOpenTasks

export type TransitionOutcome =
  | { outcome: 'applied', task: Task }
  /** The task has changed since it was read, or is gone: read it again. */
  | { outcome: 'stale' }
  /** The prediction of an `attach_prediction` belongs to another task. */
  | { outcome: 'prediction_taken' }
