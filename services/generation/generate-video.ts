import type { ReadOutcome } from '../replicate/outcomes.ts'
import { judgePrediction } from '../replicate/prediction-verdict.ts'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import { isOpen, type Task } from '../tasks/task.ts'
import { predictionEnded } from '../telemetry/channels.ts'
import { resolveAmbiguousSubmission } from './ambiguous-submission.ts'
import { cancelPrediction, cancelUnwanted, failTask, failureLogFields, transitionTask, waitingReason, type GenerationOptions, type GenerationContext } from './held-task.ts'
import { beginStoring, completeUnstored, storeVideo } from './store-video.ts'
import { submitTask } from './submit-task.ts'

/** A task ends at its deadline even if Replicate does not answer; `Cancel-After` ends the prediction at the same time. */
const cancelTimeoutMs = 5_000

/**
 * Carries one task from its claim to its end: it is submitted, its prediction is awaited, and its video is stored. Every step
 * ends with a stored transition, so after a crash another instance continues from there.
 * @param leaveFlight called when the provider has nothing more to do for the task
 * @throws the signal's reason when the instance stops: the task is at a safe point then
 */
export async function generateVideo (claimed: Task, options: GenerationOptions, signal: AbortSignal, leaveFlight: () => void): Promise<void> {
  const context = { ...options, signal }
  let task: Task | undefined = claimed
  let isNew = false
  while (task !== undefined && isOpen(task)) {
    signal.throwIfAborted()
    switch (task.state) {
      case 'queued': ({ task, isNew } = await submitTask(task, context)); break
      case 'submitting': ({ task, isNew } = { task: await resolveAmbiguousSubmission(task, context), isNew: false }); break
      case 'generating': task = await awaitPrediction(task, isNew, context); break
      default:
        leaveFlight()
        task = await storeVideo(task, context)
    }
  }
}

/** Ends a task that is past its deadline, without asking the provider. */
export async function endOverdue (task: Task, options: GenerationOptions, signal: AbortSignal): Promise<void> {
  const context = { ...options, signal }
  switch (task.state) {
    case 'queued': await failTask(task, waitingReason(task, context), context); break
    case 'submitting': await failTask(task, 'submission_unknown', context); break
    case 'storing': await completeUnstored(task, context); break
    default: await failTask(task, 'deadline_exceeded', context)
  }
}

/**
 * Waits for the end of the prediction or for the deadline. Nothing else but a cancel ends a task that has a prediction.
 * @param isNew whether this instance has just created the prediction
 */
async function awaitPrediction (task: Task, isNew: boolean, context: GenerationContext): Promise<Task | undefined> {
  const webhook = context.webhookFor(task.id)
  const isReported = webhook !== null && task.submission?.webhook === webhook
  const watched = { taskId: task.id, predictionId: requirePredictionId(task), createdAt: task.predictionCreatedAt, traceparent: task.traceparent, isReported, isResumed: !isNew }
  let current: Task | undefined = task
  for await (const update of context.predictionWatch.watch(watched, task.deadlineAt, context.signal)) {
    current = update.outcome === 'task_changed' ? await context.taskStore.get(task.id) : await applyPrediction(update, current, context)
    if (current?.failure === 'canceled') await cancelUnwanted(watched.predictionId, task, context)
    if (current?.state !== 'generating') return current
  }
  return await cancelAtDeadline(current, context)
}

async function applyPrediction (read: ReadOutcome, task: Task, context: GenerationContext): Promise<Task | undefined> {
  if (read.outcome !== 'found') {
    context.log.debug({ task_id: task.id, ...failureLogFields(read.failure, task) }, 'A prediction could not be read; reading it again')
    return task
  }
  const verdict = judgePrediction(read.prediction, {
    apiUrl: context.replicateApiUrl, now: context.now(), deadlineAt: task.deadlineAt
  })
  if (verdict.verdict !== 'running' && predictionEnded.hasSubscribers) {
    predictionEnded.publish({ task, outcome: verdict.verdict, predictSeconds: read.prediction.predictSeconds })
  }
  switch (verdict.verdict) {
    case 'running': return recordProgress(task, verdict.progress, context)
    case 'succeeded': return beginStoring(task, verdict.videoUrl, verdict.posterUrl, context)
    case 'failed': return failTask(task, verdict.code, context, verdict)
  }
}

async function recordProgress (task: Task, progress: number | null, context: GenerationContext): Promise<Task | undefined> {
  if (progress === null || progress <= (task.progress ?? -1)) return task
  return (await transitionTask(task, { type: 'progress', progress }, context)).task
}

/** Cancels the prediction at the deadline. If it has succeeded just then, its video is used. */
async function cancelAtDeadline (task: Task, context: GenerationContext): Promise<Task | undefined> {
  const inTime = createDeadlineSignal(context.signal, cancelTimeoutMs)
  const read = await cancelPrediction(requirePredictionId(task), task, { ...context, signal: inTime.signal }).finally(inTime.dispose)
  context.signal.throwIfAborted()
  const current = await applyPrediction(read, task, context)
  return current?.state === 'generating' ? await failTask(current, 'deadline_exceeded', context) : current
}

function requirePredictionId ({ id, predictionId }: Task): string {
  if (predictionId === null) throw new Error(`Task ${id} is generating without a prediction`)
  return predictionId
}
