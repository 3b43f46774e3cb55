import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { Log } from '../runtime/log.ts'
import type { TaskStore } from '../store/task-store.ts'
import { isOpen, type Task } from '../tasks/task.ts'
import type { PredictionWatch } from './prediction-watch.ts'

export interface CancelVideoOptions {
  taskStore: TaskStore
  predictionWatch: PredictionWatch
  replicate: ReplicateClient
  log: Log
}

/** `finished`: the task had ended before and stays as it was. */
export type CancelOutcome =
  | { outcome: 'canceled' | 'finished', task: Task }
  | { outcome: 'missing' }

/** After this time the client is answered even if Replicate has not answered the cancel. */
const cancelTimeoutMs = 5_000

/**
 * Cancels a task in any state, and its prediction. If the prediction is just being created, the instance that works on the
 * task cancels it, and retries until Replicate has accepted the cancel.
 * @throws StoreUnavailableError; the task is unchanged then
 */
export async function cancelVideo (taskId: string, options: CancelVideoOptions): Promise<CancelOutcome> {
  const { taskStore } = options
  for (let task = await taskStore.get(taskId); task !== undefined; task = await taskStore.get(taskId)) {
    if (!isOpen(task)) return { outcome: 'finished', task }
    const moved = await taskStore.applyTransition(task, { type: 'fail', failure: 'canceled' })
    if (moved.outcome !== 'applied') continue
    options.log.info({ task_id: taskId, prediction_id: task.predictionId }, 'Task canceled')
    if (task.predictionId !== null && task.state !== 'storing') await cancelPrediction(taskId, task.predictionId, options)
    return { outcome: 'canceled', task: moved.task }
  }
  return { outcome: 'missing' }
}

async function cancelPrediction (taskId: string, predictionId: string, { predictionWatch, replicate, log }: CancelVideoOptions): Promise<void> {
  if (predictionWatch.refreshTask(taskId)) return
  const { outcome } = await replicate.cancel(predictionId, { signal: AbortSignal.timeout(cancelTimeoutMs) })
  log.info({ prediction_id: predictionId, outcome }, 'Asked Replicate to cancel a prediction')
}
