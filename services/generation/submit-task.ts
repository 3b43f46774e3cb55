import type { CreateOutcome } from '../replicate/outcomes.ts'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import type { Task } from '../tasks/task.ts'
import { cancelUnwanted, failTask, remainingMs, waitingReason, type GenerationContext } from './held-task.ts'
import { attemptSubmission, type SubmissionAttempt } from './submission-attempt.ts'
import { TaskChangedError, watchTaskChange } from './task-change-signal.ts'

/** Replicate's minimum for `Cancel-After`: a task with less time left is not submitted any more. */
const minGenerationMs = 5_000
/** A 403 can concern one model alone, so the task waits by itself and does not delay others. */
const forbiddenBackoff = { firstMs: 30_000, maxMs: 30_000 }

export interface SubmissionResult {
  task: Task | undefined
  /** whether this instance has created the task's prediction just now */
  isNew: boolean
}

/**
 * Submits a queued task to Replicate when it is its turn at the gate.
 * @returns the task after the attempt: generating, ambiguous, queued again, or ended
 */
export async function submitTask (task: Task, context: GenerationContext): Promise<SubmissionResult> {
  let attempt: SubmissionAttempt = { task }
  const taskChange = watchTaskChange(task, context)
  const turn = { order: [task.startTag, task.createdAt], timeoutMs: remainingMs(task, context) - minGenerationMs, signal: taskChange.signal }
  const isInTime = await context.submissionGate.run(turn, async () => {
    taskChange.stop()
    attempt = await attemptSubmission(task, context)
    return attempt.outcome
  }).catch((error: unknown) => {
    if (error instanceof TaskChangedError) return 'changed' as const
    throw error
  }).finally(taskChange.stop)
  if (isInTime === 'changed') return { task: await context.taskStore.get(task.id), isNew: false }
  if (!isInTime) return { task: await failAtDeadline(task, waitingReason(task, context), context), isNew: false }
  if (attempt.unwantedPredictionId !== undefined) await cancelUnwanted(attempt.unwantedPredictionId, task, context)
  if (isForbidden(attempt.outcome)) await wait(Math.min(remainingMs(task, context), backoffDelay(0, forbiddenBackoff)), context.signal)
  return { task: attempt.task, isNew: attempt.isNew === true }
}

/** Waits for the deadline before it fails the task: the task is too late to be submitted, but it can still be canceled. */
async function failAtDeadline (task: Task, failure: TaskFailureCode, context: GenerationContext): Promise<Task | undefined> {
  // A timer may fire a millisecond early.
  while (remainingMs(task, context) > 0) await wait(remainingMs(task, context), context.signal)
  return failTask(task, failure, context)
}

function isForbidden (outcome: CreateOutcome | undefined): boolean {
  return outcome?.outcome === 'deferred' && outcome.failure.status === 403
}
