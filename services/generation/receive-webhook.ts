import type { Log } from '../runtime/log.ts'
import type { PredictionWatch } from './prediction-watch.ts'
import { isEnded, type Prediction } from '../replicate/prediction.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import { isOpen, type Task } from '../tasks/task.ts'
import type { TaskStore } from '../store/task-store.ts'

export interface ReceiveWebhookOptions {
  taskStore: TaskStore
  predictionWatch: PredictionWatch
  webhookFor: (taskId: string) => string | null
  replicate: Pick<ReplicateClient, 'cancel'>
  log: Log
}

/**
 * `unwanted`: made for the task, which has ended or has another prediction; it is canceled. `ignored`: there is no such
 * task, or the prediction is not its own.
 */
export type WebhookOutcome = 'heard' | 'unwanted' | 'ignored'

/** Replicate's answer to a cancel is not waited for longer, so that the webhook is answered. */
const cancelTimeoutMs = 5_000

/**
 * What an authentic webhook says of a task's prediction. The signature covers the body, not our address: what counts is
 * that the body is the prediction bound to the task, or, where none is bound yet, that it names the task's own address.
 * @throws StoreUnavailableError: Replicate tries again then
 */
export async function receiveWebhook (taskId: string, prediction: Prediction, options: ReceiveWebhookOptions): Promise<WebhookOutcome> {
  const { taskStore, predictionWatch, webhookFor } = options
  for (let task = await taskStore.get(taskId); task !== undefined; task = await taskStore.get(taskId)) {
    if (task.predictionId === prediction.id) {
      if (!isOpen(task)) return 'ignored'
      if (!predictionWatch.publish(prediction)) await taskStore.requestPoll([taskId])
      return 'heard'
    }
    const ours = task.submission?.webhook ?? webhookFor(taskId)
    if (prediction.webhook === null || prediction.webhook !== ours) return 'ignored'
    if (task.predictionId !== null || !isOpen(task)) return cancelUnwanted(task, prediction, options)
    if (!await attachPrediction(task, prediction, taskStore)) return 'ignored'
  }
  return 'ignored'
}

/**
 * It names the task, which does without it: until it ends it only costs money. That it belongs to the task is noted
 * afterwards, so that the search tries again where the cancel did not get through.
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

/** False where the prediction is another task's; a lost race is looked at again. */
async function attachPrediction (task: Task, { id, createdAt }: Prediction, taskStore: TaskStore): Promise<boolean> {
  const { outcome } = await taskStore.applyTransition(task, { type: 'attach_prediction', predictionId: id, predictionCreatedAt: createdAt })
  return outcome !== 'prediction_taken'
}
