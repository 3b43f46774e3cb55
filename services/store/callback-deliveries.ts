import { isOpen, type Task } from '../tasks/task.ts'

/** The end of a task, which its callback address has not been notified of yet. */
export interface CallbackDelivery {
  /** identifies this attempt in its store */
  id: string
  /** ended, and with a `callbackUrl` */
  task: Task
  /** 1 for the first */
  attempt: number
}

/** `attempt`: the number of the attempt; by default one more than the last. */
export interface NextAttempt { inMs: number, attempt?: number }

/** An attempt that is not made yet, as one store exports it to another. */
export interface DueDelivery { taskId: string, attempt: number, inMs: number }

/**
 * The deliveries of a store, durable like its tasks. The transition that ends a task with a callback
 * address makes one, in the same transaction. It stays until it is finished, or its task is removed.
 */
export interface CallbackDeliveries {
  /** Claims at most `limit` deliveries that are due and that no instance holds, the longest overdue first. */
  claim (limit: number): Promise<CallbackDelivery[]>
  /**
   * Ends a delivery that is held, or replaces it by the next attempt.
   * @throws StoreUnavailableError: it is still held
   */
  finishAttempt (delivery: CallbackDelivery, next?: NextAttempt): Promise<void>
  /** Calls `listener` when there may be another one to claim. */
  onDue (listener: () => void): void
}

/** Whether the transition from one version of a task to the next has to make a delivery: it has ended the task. */
export function needsCallback (before: Task, after: Task): boolean {
  return after.callbackUrl !== null && isOpen(before) && !isOpen(after)
}
