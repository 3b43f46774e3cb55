import { isOpen, type Task } from '../tasks/task.ts'

/** The end of a task that its callback address has not been told yet. */
export interface CallbackDelivery {
  /** names this attempt in its store */
  id: string
  /** ended, and with a `callbackUrl` */
  task: Task
  /** 1 for the first */
  attempt: number
}

/** `attempt`: which one it is; the one after this where nothing is said. */
export interface NextAttempt { inMs: number, attempt?: number }

/** An attempt that is not made yet, as one store hands it to another. */
export interface DueDelivery { taskId: string, attempt: number, inMs: number }

/**
 * The deliveries of a store, durable like its tasks. One is made by the very move that ends a task with a callback
 * address, and is there until it is settled; a task that is removed takes it along.
 */
export interface CallbackDeliveries {
  /** At most `limit` that are due and that nobody holds, the ones that have waited longest first; the caller holds them now. */
  claim (limit: number): Promise<CallbackDelivery[]>
  /**
   * Ends a delivery that is held, or puts the next attempt in its place.
   * @throws StoreUnavailableError: it is held as before
   */
  finishAttempt (delivery: CallbackDelivery, next?: NextAttempt): Promise<void>
  /** Calls `listener` where there is one more to claim. */
  onDue (listener: () => void): void
}

/** Whether a task that has just moved like this has somebody to tell. */
export function needsCallback (task: Task): boolean {
  return task.callbackUrl !== null && !isOpen(task)
}
