import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { CreateGate } from './submission-gate.ts'
import type { Log } from '../runtime/log.ts'
import type { StyleModels } from '../replicate/models.ts'
import type { PredictionWatch } from './prediction-watch.ts'
import type { ProviderClock } from '../replicate/provider-clock.ts'
import { loggableWords } from '../replicate/redact-prompt.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { ReadOutcome } from '../replicate/outcomes.ts'
import type { UpstreamFailure } from '../replicate/replicate-failure.ts'
import type { SubmissionSearch } from './submission-search.ts'
import type { Transition, Task } from '../tasks/task.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import { moveHeldTask, type Moved } from './task-mover.ts'
import type { TaskStore } from '../store/task-store.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'

/** Tells when a task has changed, here or on another instance. */
export interface TaskChanges {
  /** @returns `next` resolves when the task may have changed, when `ms` have passed or when the signal is aborted; `close` it in the end */
  subscribe (taskId: string): { next (ms: number, signal: AbortSignal): Promise<boolean>, close (): void }
}

export interface GenerateVideoOptions {
  taskStore: TaskStore
  replicate: ReplicateClient
  createGate: CreateGate
  predictionWatch: PredictionWatch
  submissionSearch: Pick<SubmissionSearch, 'wake'>
  taskChanges: TaskChanges
  providerClock: Pick<ProviderClock, 'now'>
  models: StyleModels
  /** The address of Replicate's API: besides Replicate's own file hosts, a video is believed from its origin only. */
  replicateApiUrl: string
  /** Where Replicate reports the end of a task's prediction; null without webhooks. */
  webhookFor: (taskId: string) => string | null
  /** ms that a sender waits for the answer to a create */
  createTimeoutMs: number
  /** ms after its start in which a submission may still be sent: a process that was frozen for longer does not send */
  intentTtlMs: number
  now: () => number
  log: Log
}

/** All that the steps of a task's life have in common. The signal is aborted when the instance stops. */
export interface TaskLife extends GenerateVideoOptions { signal: AbortSignal }

const retry = { firstMs: 1_000, maxMs: 30_000 }

export function move (task: Task, change: Transition, life: TaskLife): Promise<Moved> {
  return moveHeldTask(task, change, life)
}

/** @param said the provider's words, for the log */
export async function end (task: Task, failure: TaskFailureCode, life: TaskLife, said?: { words: string }): Promise<Task | undefined> {
  const failed = await move(task, { type: 'fail', failure }, life)
  if (failed.won) {
    const words = said && loggableWords(said.words, task.dream)
    life.log.warn({ task_id: task.id, prediction_id: task.predictionId, error_code: failure, provider_words: words }, 'Task failed')
  }
  return failed.task
}

/** Why a task was not submitted in time; where the provider held nothing up, our own pace for its limit did. */
export function reasonOfWaiting (task: Task, { createGate }: Pick<TaskLife, 'createGate'>): TaskFailureCode {
  return createGate.reason ?? task.waitingFor ?? 'provider_rate_limited'
}

/** Best effort: whatever becomes of it, `Cancel-After` ends the prediction at the task's deadline. */
export async function cancelUpstream (predictionId: string, task: Task, { replicate, log, signal }: TaskLife): Promise<ReadOutcome> {
  const answer = await replicate.cancel(predictionId, { signal })
  log.info({ task_id: task.id, prediction_id: predictionId, outcome: answer.outcome }, 'Asked Replicate to cancel a prediction')
  return answer
}

/**
 * Cancels a prediction whose task has ended without it, trying again while Replicate is away: it costs money until
 * then, at the latest until `Cancel-After` ends it at the task's deadline.
 */
export async function dismiss (predictionId: string, task: Task, life: TaskLife): Promise<void> {
  for (let attempt = 0; timeLeft(task, life) > 0; attempt++) {
    const owner = await ownerOf(predictionId, task, life)
    // Another task has taken it for its own meanwhile, and waits for it.
    if (owner === 'another') return
    const { outcome } = owner === 'unknown' ? { outcome: 'unavailable' } : await cancelUpstream(predictionId, task, life)
    life.signal.throwIfAborted()
    if (outcome !== 'unavailable') return
    await wait(Math.min(timeLeft(task, life), backoffDelay(attempt, retry)), life.signal)
  }
}

async function ownerOf (predictionId: string, task: Task, { taskStore }: TaskLife): Promise<'this' | 'another' | 'unknown'> {
  try {
    return await taskStore.claimPrediction(predictionId, task.id) ? 'this' : 'another'
  } catch (error) {
    if (error instanceof StoreUnavailableError) return 'unknown'
    throw error
  }
}

/** ms to the task's deadline, never below 0 */
export function timeLeft (task: Task, { now }: TaskLife): number {
  return Math.max(0, task.deadlineAt - now())
}

/** A failure as it may stand in a log line about the task. */
export function loggable ({ code, status, words }: UpstreamFailure, { dream }: Task) {
  return { error_code: code, provider_status: status, provider_words: loggableWords(words, dream) }
}
