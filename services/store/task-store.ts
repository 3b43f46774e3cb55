import type { CallBudget } from '../rate-limit/call-budget.ts'
import type { CallbackDeliveries } from './callback-deliveries.ts'
import type { TaskEvent } from './task-event.ts'
import type { IdempotentRequest, IdempotentOutcome } from './idempotency-key.ts'
import type { Style } from '../tasks/styles.ts'
import type { Transition, Task, TaskStatus } from '../tasks/task.ts'

/**
 * Where tasks live. Every backend gives these guarantees, and one suite of tests checks them:
 *
 * - Durable: when the promise of `create` or `move` resolves, the change survives `kill -9` and a power cut, and with
 *   the end of a task the delivery to its callback address.
 * - One outcome: `move` is a compare-and-set on the task's `version`. Of all who move the same task at the same
 *   moment exactly one wins; the others get `stale` and have changed nothing. No move leaves the table in `task.ts`.
 * - One prediction, one task: a prediction id belongs to at most one task, also after that task was deleted, for as long
 *   as a search can find it.
 * - One holder: a task given out by `claim` is given to nobody else until it is released, has ended, or its holder
 *   is gone. Who starts after a crash is given every open task.
 * - Failing loudly: when the backend cannot do its work now (disk full, database away) the promise rejects with
 *   `StoreUnavailableError`, and nothing of that call has been changed, unless the error says `isOutcomeUnknown`: a commit
 *   was under way, its answer was lost, and what was read afterwards could not tell.
 */
export interface TaskStore {
  /**
   * The clock of everything that is stored, ms since the epoch: deadlines and submissions are by it. All who share the
   * store share it, whatever the clocks of their machines show.
   */
  readonly now: () => number
  create (task: Task): Promise<Task>
  /** The same, unless the key of the request has made a task within 24 hours: of all who come with one key, one makes one. */
  createIdempotent (task: Task, request: IdempotentRequest): Promise<IdempotentOutcome>
  /** @param id lower-case; anything that is not the id of a task gives undefined */
  get (id: string): Promise<Task | undefined>
  /** @param task as the caller last saw it: the move happens only if it still is so */
  applyTransition (task: Task, transition: Transition): Promise<TransitionOutcome>
  /** At most `limit` open tasks that nobody holds, oldest first; the caller holds them now. */
  claim (limit: number): Promise<Task[]>
  /** The same for tasks whose deadline is at or before `now` (ms since the epoch): they end without any work. */
  claimOverdue (now: number, limit: number): Promise<Task[]>
  /**
   * The same for tasks that have been submitted, or are being so: they have been paid for, or may have been, and go on
   * whether the provider takes anything new or not.
   */
  claimSubmitted (limit: number): Promise<Task[]>
  /** Hands a task back, ended or not. */
  release (id: string): Promise<void>
  /** Calls `listener` with a task that this instance held and somebody else holds now: it must not go on with it. */
  onLeaseLost (listener: (taskId: string) => void): void
  /** Newest first: by id, which begins with the time of the creation. */
  list (query: TaskListQuery): Promise<Task[]>
  /** Removes a task that has ended. False where it was gone already, or has moved. */
  remove (task: Task): Promise<boolean>
  /** Calls `listener` after each change of a task, made here or elsewhere: only ever a hint to read again. */
  onEvent (listener: (news: TaskEvent) => void): void
  /** Asks whoever holds these tasks, on another instance, to look at their predictions now. */
  requestPoll (taskIds: string[]): Promise<void>
  /** Every task that waits for a prediction, whoever holds it. */
  listInFlight (): Promise<InFlightPrediction[]>
  /**
   * Tasks that may have a prediction which no row names: all that are being submitted, and those that were canceled
   * meanwhile, while their deadline is ahead.
   * @param now ms since the epoch
   */
  listUnresolvedSubmissions (now: number): Promise<Task[]>
  /** Which of these predictions belong to a task, and to which one: ever bound, or noted by `claimPrediction`. */
  findPredictionOwners (predictionIds: string[]): Promise<Map<string, string>>
  /**
   * Notes that a prediction belongs to a task without being bound to it, so that no other task ever takes it.
   * @returns false where it belongs to another task
   */
  recordPredictionOwner (predictionId: string, taskId: string): Promise<boolean>
  /** True for one instance at a time, for `ttlMs` from its last call; it does work that all instances share. */
  acquireSearchLease (ttlMs: number): Promise<boolean>
  /** Lets another instance have the turn at once. */
  releaseSearchLease (): Promise<void>
  /** Whether a process that held a task before this one has certainly ended: the store belongs to one process at a time. */
  readonly isExclusive: boolean
  /** True for one instance in each interval: it sweeps for all. */
  acquireSweep (intervalMs: number): Promise<boolean>
  /** What calls of this kind may still use of the provider's limit, shared with all who share the store. */
  callBudget (kind: CallKind, perMinute: number): CallBudget
  /** Who is still to be told that a task has ended. */
  readonly deliveries: CallbackDeliveries
  /** Resolves when the store can be read, rejects with StoreUnavailableError when it cannot. */
  ping (): Promise<void>
  close (): Promise<void>
}

export interface TaskListQuery {
  status: TaskStatus | undefined
  style: Style | undefined
  /** only tasks whose id is before this one's */
  before: string | undefined
  limit: number
}

/** A task that waits for a prediction. The time is ms since the epoch, by the provider's clock; null where it did not say. */
export interface InFlightPrediction { taskId: string, predictionId: string, predictionCreatedAt: number | null }

export type CallKind = 'create' | 'read'

export type TransitionOutcome =
  | { outcome: 'applied', task: Task }
  /** Somebody else moved first (or the task is gone): read it again. */
  | { outcome: 'stale' }
  /** The prediction id of a `bind` belongs to another task. */
  | { outcome: 'prediction_taken' }
