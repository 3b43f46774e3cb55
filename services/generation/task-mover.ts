import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { Transition, Task } from '../tasks/task.ts'
import type { TaskStore } from '../store/task-store.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'

/** `won`: the move happened and this is the task now. Otherwise the task as whoever moved first left it. */
export type Moved =
  | { won: true, task: Task }
  | { won: false, task: Task | undefined, predictionTaken: boolean }

export interface TaskMoverOptions { taskStore: TaskStore, log: Log, signal: AbortSignal }

const storeAway = { firstMs: 200, maxMs: 10_000 }
/** Tries of a move that the store refuses for a reason that does not pass. */
const mostTries = 5

/**
 * Moves a task that this instance holds. A store that is away (a full disk, a database that restarts) delays the
 * move: what is known in memory, a paid prediction's id above all, is not given up while the process lives.
 * @throws the signal's reason where the store is away and the signal is aborted; StoreUnavailableError where the store
 * refuses the move for a reason that does not pass
 */
export async function moveHeldTask (task: Task, move: Transition, { taskStore, log, signal }: TaskMoverOptions): Promise<Moved> {
  for (let attempt = 0; ; attempt++) {
    try {
      const result = await taskStore.applyTransition(task, move)
      if (result.outcome === 'applied') return { won: true, task: result.task }
      return { won: false, task: await taskStore.get(task.id), predictionTaken: result.outcome === 'prediction_taken' }
    } catch (err) {
      if (!(err instanceof StoreUnavailableError)) throw err
      if (!err.isTransient && attempt + 1 >= mostTries) throw err
      if (attempt === 0) log.warn({ err, task_id: task.id }, 'The task store is away; a task waits for it')
      await wait(backoffDelay(attempt, storeAway), signal)
    }
  }
}
