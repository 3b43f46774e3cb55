import type { PredictionWatch } from './prediction-watch.ts'
import type { Prediction } from './prediction.ts'
import { isOpen, type Task } from './task.ts'
import type { TaskStore } from './task-store.ts'

export interface HearOfPredictionOptions {
  taskStore: TaskStore
  predictionWatch: PredictionWatch
  webhookFor: (taskId: string) => string | null
}

/** `ignored`: there is no such task, it has ended, or the prediction is not its own. */
export type Heard = 'heard' | 'ignored'

/**
 * What an authentic webhook says of a task's prediction. The signature covers the body, not our address: what counts is
 * that the body is the prediction bound to the task, or, where none is bound yet, that it names the task's own address.
 * @throws StoreUnavailableError: Replicate tries again then
 */
export async function hearOfPrediction (taskId: string, prediction: Prediction, options: HearOfPredictionOptions): Promise<Heard> {
  const { taskStore, predictionWatch, webhookFor } = options
  for (let task = await taskStore.get(taskId); task !== undefined && isOpen(task); task = await taskStore.get(taskId)) {
    if (task.predictionId === prediction.id) {
      if (!predictionWatch.offer(prediction)) await taskStore.prompt([taskId])
      return 'heard'
    }
    const ours = task.submission?.webhook ?? webhookFor(taskId)
    if (task.predictionId !== null || prediction.webhook === null || prediction.webhook !== ours) return 'ignored'
    if (!await bind(task, prediction, taskStore)) return 'ignored'
  }
  return 'ignored'
}

/** False where the prediction is another task's; a lost race is looked at again. */
async function bind (task: Task, { id, createdAt }: Prediction, taskStore: TaskStore): Promise<boolean> {
  const { outcome } = await taskStore.move(task, { type: 'bind', predictionId: id, predictionCreatedAt: createdAt })
  return outcome !== 'prediction_taken'
}
