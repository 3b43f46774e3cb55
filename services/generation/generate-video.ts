import type { ReadOutcome } from '../replicate/outcomes.ts'
import { judgePrediction } from '../replicate/prediction-verdict.ts'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import { isOpen, type Task } from '../tasks/task.ts'
import { createArchiveName, videoExtension } from '../videos/archive-name.ts'
import { resolveAmbiguousSubmission } from './ambiguous-submission.ts'
import { cancelPrediction, cancelUnwanted, failTask, failureLogFields, transitionTask, waitingReason, type GenerationOptions, type GenerationContext } from './held-task.ts'
import { submitTask } from './submit-task.ts'

/** A task ends at its deadline even if Replicate does not answer; `Cancel-After` ends the prediction at the same time. */
const cancelTimeoutMs = 5_000

/**
 * Carries one task from its claim to its end: it is submitted, its prediction is awaited, and the result is stored. Every
 * step ends with a stored transition, so after a crash another instance continues from there.
 * @throws the signal's reason when the instance stops: the task is at a safe point then
 */
export async function generateVideo (claimed: Task, options: GenerationOptions, signal: AbortSignal): Promise<void> {
  const context = { ...options, signal }
  let task: Task | undefined = claimed
  let isNew = false
  while (task !== undefined && isOpen(task)) {
    signal.throwIfAborted()
    if (task.state === 'generating') return awaitPrediction(task, isNew, context)
    if (task.state === 'queued') ({ task, isNew } = await submitTask(task, context))
    else ({ task, isNew } = { task: await resolveAmbiguousSubmission(task, context), isNew: false })
  }
}

/** Ends a task that is past its deadline, without asking the provider. */
export async function failOverdue (task: Task, options: GenerationOptions, signal: AbortSignal): Promise<void> {
  const context = { ...options, signal }
  switch (task.state) {
    case 'queued': await failTask(task, waitingReason(task, context), context); break
    case 'submitting': await failTask(task, 'submission_unknown', context); break
    default: await failTask(task, 'deadline_exceeded', context)
  }
}

/**
 * Waits for the end of the prediction or for the deadline. Nothing else but a cancel ends a task that has a prediction.
 * @param isNew whether this instance has just created the prediction
 */
async function awaitPrediction (task: Task, isNew: boolean, context: GenerationContext): Promise<void> {
  const webhook = context.webhookFor(task.id)
  const isReported = webhook !== null && task.submission?.webhook === webhook
  const watched = { taskId: task.id, predictionId: requirePredictionId(task), createdAt: task.predictionCreatedAt, isReported, isResumed: !isNew }
  let current: Task | undefined = task
  for await (const update of context.predictionWatch.watch(watched, task.deadlineAt, context.signal)) {
    current = update.outcome === 'task_changed' ? await context.taskStore.get(task.id) : await applyPrediction(update, current, context)
    if (current?.failure === 'canceled') await cancelUnwanted(watched.predictionId, task, context)
    if (current?.state !== 'generating') return
  }
  await cancelAtDeadline(current, context)
}

async function applyPrediction (read: ReadOutcome, task: Task, context: GenerationContext): Promise<Task | undefined> {
  if (read.outcome !== 'found') {
    context.log.debug({ task_id: task.id, ...failureLogFields(read.failure, task) }, 'A prediction could not be read; reading it again')
    return task
  }
  const verdict = judgePrediction(read.prediction, {
    apiUrl: context.replicateApiUrl, now: context.now(), deadlineAt: task.deadlineAt
  })
  switch (verdict.verdict) {
    case 'running': return recordProgress(task, verdict.progress, context)
    case 'succeeded': return completeTask(task, verdict.videoUrl, context)
    case 'failed': return failTask(task, verdict.code, context, verdict)
  }
}

async function recordProgress (task: Task, progress: number | null, context: GenerationContext): Promise<Task | undefined> {
  if (progress === null || progress <= (task.progress ?? -1)) return task
  return (await transitionTask(task, { type: 'progress', progress }, context)).task
}

async function completeTask (task: Task, sourceUrl: string, context: GenerationContext): Promise<Task | undefined> {
  const videoName = createArchiveName(videoExtension(sourceUrl))
  const storing = await transitionTask(task, { type: 'store', sourceUrl, posterSourceUrl: null, videoName }, context)
  if (!storing.applied) return storing.task
  const completed = await transitionTask(storing.task, { type: 'complete', videoFile: null, videoWork: null }, context)
  if (completed.applied) context.log.info({ task_id: task.id, prediction_id: task.predictionId }, 'Video completed')
  return completed.task
}

/** Cancels the prediction at the deadline. If it has succeeded just then, its video is used. */
async function cancelAtDeadline (task: Task, context: GenerationContext): Promise<void> {
  const inTime = createDeadlineSignal(context.signal, cancelTimeoutMs)
  const read = await cancelPrediction(requirePredictionId(task), task, { ...context, signal: inTime.signal }).finally(inTime.dispose)
  context.signal.throwIfAborted()
  const current = await applyPrediction(read, task, context)
  if (current?.state === 'generating') await failTask(current, 'deadline_exceeded', context)
}

function requirePredictionId ({ id, predictionId }: Task): string {
  if (predictionId === null) throw new Error(`Task ${id} is generating without a prediction`)
  return predictionId
}
