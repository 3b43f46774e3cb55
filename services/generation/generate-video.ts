import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import { predictionVerdict } from '../replicate/prediction-verdict.ts'
import type { ReadOutcome } from '../replicate/outcomes.ts'
import { awaitSearch, submit } from './submit-task.ts'
import { isOpen, type Task } from '../tasks/task.ts'
import { cancelUpstream, dismiss, end, loggable, move, reasonOfWaiting, type GenerateVideoOptions, type TaskLife } from './held-task.ts'

/** The deadline does not wait for a Replicate that is away; `Cancel-After` strikes there as well. */
const lastCancelMs = 5_000

/**
 * The life of one task, from its claim to its end. Every step leaves the task as the store has it, so whoever takes
 * it over after a crash goes on from there.
 * @throws the signal's reason when the instance stops: the task is at a safe point then
 */
export async function generateVideo (claimed: Task, options: GenerateVideoOptions, signal: AbortSignal): Promise<void> {
  const life = { ...options, signal }
  let task: Task | undefined = claimed
  let isNew = false
  while (task !== undefined && isOpen(task)) {
    signal.throwIfAborted()
    if (task.state === 'generating') return awaitVideo(task, isNew, life)
    if (task.state === 'queued') ({ task, isNew } = await submit(task, life))
    else ({ task, isNew } = { task: await awaitSearch(task, life), isNew: false })
  }
}

/** Ends a task past its deadline without a look at anything else. */
export async function endLate (task: Task, options: GenerateVideoOptions, signal: AbortSignal): Promise<void> {
  const life = { ...options, signal }
  switch (task.state) {
    case 'queued': await end(task, reasonOfWaiting(task, life), life); break
    case 'submitting': await end(task, 'submission_unknown', life); break
    default: await end(task, 'deadline_exceeded', life)
  }
}

/**
 * Waits for the prediction's verdict, or for the deadline: nothing else ends a task that Replicate has taken.
 * @param isNew whether this instance has just created the prediction
 */
async function awaitVideo (task: Task, isNew: boolean, life: TaskLife): Promise<void> {
  const webhook = life.webhookFor(task.id)
  const isReported = webhook !== null && task.submission?.webhook === webhook
  const awaited = { taskId: task.id, predictionId: predictionOf(task), createdAt: task.predictionCreatedAt, isReported, isResumed: !isNew }
  let current: Task | undefined = task
  for await (const read of life.predictionWatch.follow(awaited, task.deadlineAt, life.signal)) {
    current = read === 'look again' ? await life.taskStore.get(task.id) : await learnFrom(read, current, life)
    if (current?.failure === 'canceled') await dismiss(awaited.predictionId, task, life)
    if (current?.state !== 'generating') return
  }
  await giveUp(current, life)
}

async function learnFrom (read: ReadOutcome, task: Task, life: TaskLife): Promise<Task | undefined> {
  if (read.outcome !== 'found') {
    life.log.debug({ task_id: task.id, ...loggable(read.failure, task) }, 'A prediction could not be read; reading it again')
    return task
  }
  const verdict = predictionVerdict(read.prediction, {
    apiUrl: life.replicateApiUrl, now: life.now(), deadlineAt: task.deadlineAt
  })
  switch (verdict.verdict) {
    case 'running': return advance(task, verdict.progress, life)
    case 'succeeded': return complete(task, verdict.videoUrl, life)
    case 'failed': return end(task, verdict.code, life, verdict)
  }
}

async function advance (task: Task, progress: number | null, life: TaskLife): Promise<Task | undefined> {
  if (progress === null || progress <= (task.progress ?? -1)) return task
  return (await move(task, { type: 'progress', progress }, life)).task
}

async function complete (task: Task, videoUrl: string, life: TaskLife): Promise<Task | undefined> {
  const completed = await move(task, { type: 'complete', videoUrl }, life)
  if (completed.won) life.log.info({ task_id: task.id, prediction_id: task.predictionId }, 'Video completed')
  return completed.task
}

/** At the deadline the prediction is cancelled as well; should it have succeeded just then, the video is taken. */
async function giveUp (task: Task, life: TaskLife): Promise<void> {
  const inTime = createDeadlineSignal(life.signal, lastCancelMs)
  const answer = await cancelUpstream(predictionOf(task), task, { ...life, signal: inTime.signal }).finally(inTime.dispose)
  life.signal.throwIfAborted()
  const current = await learnFrom(answer, task, life)
  if (current?.state === 'generating') await end(current, 'deadline_exceeded', life)
}

function predictionOf ({ id, predictionId }: Task): string {
  if (predictionId === null) throw new Error(`Task ${id} is generating without a prediction`)
  return predictionId
}
