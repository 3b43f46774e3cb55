import { randomInt } from 'node:crypto'
import { backoffDelay, wait } from './backoff.ts'
import type { Log } from './log.ts'
import { inputFor, type StyleModels } from './models.ts'
import type { PredictionReads } from './prediction-reads.ts'
import { predictionVerdict } from './prediction-verdict.ts'
import type { Prediction } from './prediction.ts'
import { loggableWords } from './provider-words.ts'
import type { ReadOutcome, ReplicateClient } from './replicate-client.ts'
import type { UpstreamFailure } from './replicate-failure.ts'
import { promptFor } from './styles.ts'
import { isOpen, type Move, type Submission, type Task } from './task.ts'
import type { TaskFailureCode } from './task-failure.ts'
import { moveHeldTask, type Moved } from './task-mover.ts'
import type { TaskStore } from './task-store.ts'

export interface GenerateVideoOptions {
  taskStore: TaskStore
  replicate: ReplicateClient
  predictionReads: PredictionReads
  models: StyleModels
  /** The address of Replicate's API: besides Replicate's own file hosts, a video is believed from its origin only. */
  replicateApiUrl: string
  now: () => number
  log: Log
}

interface Life extends GenerateVideoOptions { signal: AbortSignal }

/** Replicate's shortest `Cancel-After`: with less time left a task is not handed over any more. */
const shortestGenerationSeconds = 5
/** A process that was frozen for longer between the mark and the POST does not send: its successor may have sent. */
const markValidMs = 5_000
const deferral = { first: 2_000, longest: 30_000 }

/**
 * The life of one task, from its claim to its end. Every step leaves the task as the store has it, so whoever takes
 * it over after a crash goes on from there.
 * @throws the signal's reason when the instance stops: the task is at a safe point then
 */
export async function generateVideo (claimed: Task, options: GenerateVideoOptions, signal: AbortSignal): Promise<void> {
  const life = { ...options, signal }
  let task: Task | undefined = claimed
  while (task !== undefined && isOpen(task)) {
    signal.throwIfAborted()
    if (task.stage === 'queued') task = await submit(task, life)
    else if (task.stage === 'submitting') task = await settleSubmission(task, life)
    else task = await awaitVideo(task, life)
  }
}

/** Ends a task past its deadline without a look at anything else. */
export async function endLate (task: Task, options: GenerateVideoOptions): Promise<void> {
  await end(task, 'deadline_exceeded', { ...options, signal: new AbortController().signal })
}

/** Hands the task to Replicate, once: the mark is on disk before the POST, the prediction's id right after it. */
async function submit (task: Task, life: Life): Promise<Task | undefined> {
  for (let attempt = 0; ; attempt++) {
    if (secondsLeft(task, life) < shortestGenerationSeconds) return end(task, task.waitingFor ?? 'deadline_exceeded', life)
    const submission = submissionOf(task, life)
    const marked = await move(task, { type: 'submit', submission }, life)
    if (!marked.won) return marked.task

    const answer = await post(marked.task, submission, life)
    switch (answer.outcome) {
      case 'created':
        return bind(marked.task, answer.prediction, life)
      case 'refused':
        return end(marked.task, answer.failure.code, life, answer.failure)
      case 'unknown':
        return end(marked.task, 'submission_unknown', life, answer.failure)
      case 'deferred':
      case 'withdrawn': {
        const failure = answer.outcome === 'deferred' ? answer.failure : undefined
        const withdrawn = await move(marked.task, { type: 'withdraw', waitingFor: failure?.code ?? null }, life)
        if (!withdrawn.won) return withdrawn.task
        task = withdrawn.task
        await pauseAfterDeferral(task, attempt, failure, life)
      }
    }
  }
}

function submissionOf (task: Task, { models, now }: Life): Submission {
  const model = models[task.style]
  return { startedAt: now(), model, input: inputFor(model, promptFor(task.style, task.dream), randomInt(2 ** 31)) }
}

/** Not bound to the signal: a stopping instance waits for the answer, so that the id of what was paid for is stored. */
function post (task: Task, { model, input, startedAt }: Submission, life: Life) {
  return life.replicate.create(
    { model, input, cancelAfterSeconds: secondsLeft(task, life) },
    { mayStillSend: () => life.now() - startedAt < markValidMs }
  )
}

async function bind (task: Task, prediction: Prediction, life: Life): Promise<Task | undefined> {
  const bound = await move(task, { type: 'bind', predictionId: prediction.id }, life)
  if (bound.won) life.log.info({ task_id: task.id, prediction_id: prediction.id }, 'Prediction created')
  else if (bound.task?.predictionId !== prediction.id) await cancelUpstream(prediction.id, task, life)
  return bound.task
}

async function pauseAfterDeferral (task: Task, attempt: number, failure: UpstreamFailure | undefined, life: Life): Promise<void> {
  const { log, signal } = life
  if (failure !== undefined) {
    log.warn({ task_id: task.id, ...loggable(failure, task) }, 'Replicate does not take the task for the moment')
  }
  const pause = Math.max(failure?.retryAfterMs ?? 0, backoffDelay(attempt, deferral))
  await wait(Math.min(pause, secondsLeft(task, life) * 1000), signal)
}

/** The process that made the mark died, or the answer was lost: whether a prediction exists is not known. */
function settleSubmission (task: Task, life: Life): Promise<Task | undefined> {
  return end(task, 'submission_unknown', life)
}

/** Waits for the prediction's verdict, or for the deadline: nothing else ends a task that Replicate has taken. */
async function awaitVideo (task: Task, life: Life): Promise<Task | undefined> {
  let current: Task | undefined = task
  for await (const read of life.predictionReads.follow(predictionOf(task), task.deadlineAt, life.signal)) {
    current = await learnFrom(read, current, life)
    if (current?.stage !== 'generating') return current
    if (life.now() >= task.deadlineAt) return giveUp(current, life)
  }
}

async function learnFrom (read: ReadOutcome, task: Task, life: Life): Promise<Task | undefined> {
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

async function advance (task: Task, progress: number | null, life: Life): Promise<Task | undefined> {
  if (progress === null || progress <= (task.progress ?? -1)) return task
  return (await move(task, { type: 'advance', progress }, life)).task
}

async function complete (task: Task, videoUrl: string, life: Life): Promise<Task | undefined> {
  const completed = await move(task, { type: 'complete', videoUrl }, life)
  if (completed.won) life.log.info({ task_id: task.id, prediction_id: task.predictionId }, 'Video completed')
  return completed.task
}

/** At the deadline the prediction is cancelled as well; should it have succeeded just then, the video is taken. */
async function giveUp (task: Task, life: Life): Promise<Task | undefined> {
  const answer = await cancelUpstream(predictionOf(task), task, life)
  const current = await learnFrom(answer, task, life)
  return current?.stage === 'generating' ? end(current, 'deadline_exceeded', life) : current
}

/** Best effort: whatever becomes of it, `Cancel-After` ends the prediction at the task's deadline. */
async function cancelUpstream (predictionId: string, task: Task, { replicate, log, signal }: Life): Promise<ReadOutcome> {
  const answer = await replicate.cancel(predictionId, { signal })
  log.info({ task_id: task.id, prediction_id: predictionId, outcome: answer.outcome }, 'Prediction cancelled')
  return answer
}

async function end (task: Task, failure: TaskFailureCode, life: Life, said?: { words: string }): Promise<Task | undefined> {
  const failed = await move(task, { type: 'fail', failure }, life)
  if (failed.won) {
    const words = said && loggableWords(said.words, task.dream)
    life.log.warn({ task_id: task.id, prediction_id: task.predictionId, error_code: failure, provider_words: words }, 'Task failed')
  }
  return failed.task
}

function move (task: Task, change: Move, life: Life): Promise<Moved> {
  return moveHeldTask(task, change, life)
}

function predictionOf ({ id, predictionId }: Task): string {
  if (predictionId === null) throw new Error(`Task ${id} is generating without a prediction`)
  return predictionId
}

/** Whole seconds to the task's deadline, never below 0. */
function secondsLeft (task: Task, { now }: Life): number {
  return Math.max(0, Math.floor((task.deadlineAt - now()) / 1000))
}

function loggable ({ code, status, words }: UpstreamFailure, { dream }: Task) {
  return { error_code: code, provider_status: status, provider_words: loggableWords(words, dream) }
}
