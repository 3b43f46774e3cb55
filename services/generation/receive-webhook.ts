import { isEnded, type Prediction } from '../replicate/prediction.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { Log } from '../runtime/log.ts'
import type { TaskStore } from '../store/task-store.ts'
import { isOpen, type Task } from '../tasks/task.ts'
import type { PredictionWatch } from './prediction-watch.ts'

export interface ReceiveWebhookOptions {
  taskStore: TaskStore
  predictionWatch: PredictionWatch
  webhookFor: (taskId: string) => string | null
  replicate: Pick<ReplicateClient, 'cancel'>
  log: Log
}

/**
 * - `accepted`: the task uses the prediction
 * - `unwanted`: the prediction was made for the task, but the task has ended or has another one; it is canceled
 * - `ignored`: there is no such task, or the prediction belongs to another one
 */
export type WebhookOutcome = 'accepted' | 'unwanted' | 'ignored'

/** The webhook is answered after this time even if Replicate has not answered the cancel. */
const cancelTimeoutMs = 5_000

/**
 * Applies what an authentic webhook reports. The signature covers the body but not the address that was called, so the body
 * has to be the task's own prediction or, where the task has none yet, has to name the task's webhook address.
 * @throws StoreUnavailableError; Replicate sends the webhook again
 */
export async function receiveWebhook (taskId: string, prediction: Prediction, options: ReceiveWebhookOptions): Promise<WebhookOutcome> {
  const { taskStore, predictionWatch, webhookFor } = options
  for (let task = await taskStore.get(taskId); task !== undefined; task = await taskStore.get(taskId)) {
    if (task.predictionId === prediction.id) {
      if (!isOpen(task)) return 'ignored'
      if (!predictionWatch.publish(prediction)) await taskStore.requestPoll([taskId])
      return 'accepted'
    }
    const ours = task.submission?.webhook ?? webhookFor(taskId)
    if (prediction.webhook === null || prediction.webhook !== ours) return 'ignored'
    if (task.predictionId !== null || !isOpen(task)) return cancelUnwanted(task, prediction, options)
    if (!await attachPrediction(task, prediction, taskStore)) return 'ignored'
  }
  return 'ignored'
}

/**
 * Cancels a prediction that its task does not use: until it ends, it only costs money. The owner is stored afterwards, so
 * that the search for submissions cancels it again if this cancel did not reach Replicate.
 */
async function cancelUnwanted ({ id: taskId }: Task, prediction: Prediction, { taskStore, replicate, log }: ReceiveWebhookOptions): Promise<WebhookOutcome> {
  const { id } = prediction
  if (((await taskStore.findPredictionOwners([id])).get(id) ?? taskId) !== taskId) return 'ignored'
  if (!isEnded(prediction)) {
    const { outcome } = await replicate.cancel(id, { signal: AbortSignal.timeout(cancelTimeoutMs) })
    log.info({ task_id: taskId, prediction_id: id, outcome }, 'Asked Replicate to cancel a prediction')
    if (outcome === 'unavailable') return 'unwanted'
  }
  await taskStore.recordPredictionOwner(id, taskId)
  return 'unwanted'
}

/** False where the prediction belongs to another task. After a lost race the caller reads the task again. */
async function attachPrediction (task: Task, { id, createdAt }: Prediction, taskStore: TaskStore): Promise<boolean> {
  const { outcome } = await taskStore.applyTransition(task, { type: 'attach_prediction', predictionId: id, predictionCreatedAt: createdAt })
  return outcome !== 'prediction_taken'
}
