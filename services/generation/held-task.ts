import type { StyleModels } from '../replicate/models.ts'
import type { ReadOutcome } from '../replicate/outcomes.ts'
import type { ProviderClock } from '../replicate/provider-clock.ts'
import { redactPrompt } from '../replicate/redact-prompt.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { UpstreamFailure } from '../replicate/replicate-failure.ts'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { RepeatedFailure } from '../runtime/repeated-failure.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'
import type { TaskStore } from '../store/task-store.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import type { Task, Transition } from '../tasks/task.ts'
import type { FrameExtractor } from '../videos/frame-extractor.ts'
import type { VideoArchive } from '../videos/video-archive.ts'
import type { VideoCopier } from '../videos/video-copier.ts'
import type { PredictionWatch } from './prediction-watch.ts'
import type { SubmissionGate } from './submission-gate.ts'
import type { SubmissionSearch } from './submission-search.ts'

/** Notifies of changes of a task, made here or on another instance. */
export interface TaskChanges {
  /**
   * `waitForChange` resolves when the task may have changed, when `ms` have passed or when the signal is aborted. Call
   * `close` at the end.
   */
  subscribe (taskId: string): { waitForChange (ms: number, signal: AbortSignal): Promise<boolean>, close (): void }
}

export interface GenerationOptions {
  taskStore: TaskStore
  replicate: ReplicateClient
  submissionGate: SubmissionGate
  predictionWatch: PredictionWatch
  submissionSearch: Pick<SubmissionSearch, 'wake'>
  taskChanges: TaskChanges
  videoCopier: VideoCopier
  videoArchive: VideoArchive
  /** Does what is left for the video of a completed task. */
  videoBacklog: { wake (): void }
  /** Undefined where no posters are made of videos. */
  frameExtractor: Pick<FrameExtractor, 'extract'> | undefined
  /** The copies of all tasks fail for the same few reasons, so an outage is one warning. */
  copyFailure: RepeatedFailure
  providerClock: Pick<ProviderClock, 'now'>
  models: StyleModels
  /** The address of Replicate's API: besides Replicate's own file hosts, videos are accepted from its origin only. */
  replicateApiUrl: string
  /** Where Replicate reports the end of a task's prediction; null without webhooks. */
  webhookFor: (taskId: string) => string | null
  /** ms to wait for the response to a create */
  createTimeoutMs: number
  /** ms for which a submission intent is valid: a process that was frozen for longer does not send */
  intentTtlMs: number
  now: () => number
  log: Log
}

/** What every step of a generation works with. The signal is aborted when the instance stops. */
export interface GenerationContext extends GenerationOptions { signal: AbortSignal }

/**
 * `applied`: the transition happened, and `task` is the new version. Otherwise `task` is as another writer left it, or
 * undefined if it was removed.
 */
export type TransitionResult =
  | { applied: true, task: Task }
  | { applied: false, task: Task | undefined, isPredictionTaken: boolean }

const cancelBackoff = { firstMs: 1_000, maxMs: 30_000 }
const storeBackoff = { firstMs: 200, maxMs: 10_000 }
/** The maximum number of attempts if the store refuses a transition for a reason that is not transient. */
const maxAttempts = 5

/**
 * Applies a transition to a task that this instance holds, again and again while the store is unavailable (a full disk, a
 * database that restarts): the id of a paid prediction must not be lost while this process knows it.
 * @throws the signal's reason if it is aborted while the store is unavailable; StoreUnavailableError if the store refuses
 * the transition for a reason that is not transient
 */
export async function transitionTask (task: Task, transition: Transition, { taskStore, log, signal }: Pick<GenerationContext, 'taskStore' | 'log' | 'signal'>): Promise<TransitionResult> {
  for (let attempt = 0; ; attempt++) {
    try {
      const result = await taskStore.applyTransition(task, transition)
      if (result.outcome === 'applied') return { applied: true, task: result.task }
      return { applied: false, task: await taskStore.get(task.id), isPredictionTaken: result.outcome === 'prediction_taken' }
    } catch (err) {
      if (!(err instanceof StoreUnavailableError)) throw err
      if (!err.isTransient && attempt + 1 >= maxAttempts) throw err
      if (attempt === 0) log.warn({ err, task_id: task.id }, 'The task store is unavailable; a task waits for it')
      await wait(backoffDelay(attempt, storeBackoff), signal)
    }
  }
}

/** @param cause the provider's message, for the log */
export async function failTask (task: Task, failure: TaskFailureCode, context: GenerationContext, cause?: { message: string }): Promise<Task | undefined> {
  const failed = await transitionTask(task, { type: 'fail', failure }, context)
  if (failed.applied) {
    const message = cause && redactPrompt(cause.message, task.dream)
    context.log.warn({ task_id: task.id, prediction_id: task.predictionId, error_code: failure, provider_message: message }, 'Task failed')
  }
  return failed.task
}

/** The reason why a task was not submitted in time: the rate limit, if no other reason is known. */
export function waitingReason (task: Task, { submissionGate }: Pick<GenerationContext, 'submissionGate'>): TaskFailureCode {
  return submissionGate.blockReason ?? task.waitingFor ?? 'provider_rate_limited'
}

/** Makes one attempt: if it fails, `Cancel-After` still ends the prediction at the task's deadline. */
export async function cancelPrediction (predictionId: string, task: Task, { replicate, log, signal }: GenerationContext): Promise<ReadOutcome> {
  const result = await replicate.cancel(predictionId, { signal })
  log.info({ task_id: task.id, prediction_id: predictionId, outcome: result.outcome }, 'Asked Replicate to cancel a prediction')
  return result
}

/**
 * Cancels a prediction whose task has ended without it, and retries while Replicate is unavailable: the prediction costs
 * money until it is canceled, or until `Cancel-After` ends it at the task's deadline.
 */
export async function cancelUnwanted (predictionId: string, task: Task, context: GenerationContext): Promise<void> {
  for (let attempt = 0; remainingMs(task, context) > 0; attempt++) {
    const owner = await recordOwner(predictionId, task, context)
    // Another task of the same dream uses the prediction.
    if (owner === 'another') return
    const { outcome } = owner === 'unknown' ? { outcome: 'unavailable' } : await cancelPrediction(predictionId, task, context)
    context.signal.throwIfAborted()
    if (outcome !== 'unavailable') return
    await wait(Math.min(remainingMs(task, context), backoffDelay(attempt, cancelBackoff)), context.signal)
  }
}

async function recordOwner (predictionId: string, task: Task, { taskStore }: GenerationContext): Promise<'this' | 'another' | 'unknown'> {
  try {
    return await taskStore.recordPredictionOwner(predictionId, task.id) ? 'this' : 'another'
  } catch (error) {
    if (error instanceof StoreUnavailableError) return 'unknown'
    throw error
  }
}

/** ms to the task's deadline, never below 0 */
export function remainingMs (task: Task, { now }: GenerationContext): number {
  return Math.max(0, task.deadlineAt - now())
}

/** The members of a log line that describe a failure, without any part of the dream. */
export function failureLogFields ({ code, status, message }: UpstreamFailure, { dream }: Task) {
  return { error_code: code, provider_status: status, provider_message: redactPrompt(message, dream) }
}
