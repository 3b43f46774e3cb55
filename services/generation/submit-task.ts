import { randomInt } from 'node:crypto'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import { buildInput } from '../replicate/models.ts'
import type { Prediction } from '../replicate/prediction.ts'
import { redactPrompt } from '../replicate/redact-prompt.ts'
import type { CreateOutcome } from '../replicate/outcomes.ts'
import { promptFor } from '../tasks/styles.ts'
import type { Transition, SubmissionIntent, Task } from '../tasks/task.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import { cancelUnwanted, failTask, failureLogFields, transitionTask, waitingReason, remainingMs, type GenerationContext } from './held-task.ts'

/** Replicate's shortest `Cancel-After`: with less time left a task is not handed over any more. */
const minGenerationMs = 5_000
/** A model that the account may not use is its task's trouble alone, so that task waits without holding up others. */
const forbiddenBackoff = { firstMs: 30_000, maxMs: 30_000 }
/** News of a change can be missed: the row is read again after this time. */
const refreshMs = 2_000
const waitingRefreshMs = 60_000

export interface SubmissionResult {
  task: Task | undefined
  /** whether this instance has created the task's prediction just now */
  isNew: boolean
}

/** Hands a queued task to Replicate, once: the mark is on disk before the POST, the prediction's id right after it. */
export async function submitTask (task: Task, context: GenerationContext): Promise<SubmissionResult> {
  let attempt: SubmissionAttempt = { task }
  const taskChange = abortOnTaskChange(task, context)
  const turn = { order: task.createdAt, timeoutMs: remainingMs(task, context) - minGenerationMs, signal: taskChange.signal }
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

class TaskChangedError extends Error {}

/**
 * A signal that is aborted when the task is not as it was any more: one that was canceled or bound by a webhook takes no
 * place at the gate, and nothing of the budget of creates.
 */
function abortOnTaskChange (task: Task, context: GenerationContext): { signal: AbortSignal, stop: () => void } {
  const waiting = new AbortController()
  const stopped = new AbortController()
  const changes = context.taskChanges.subscribe(task.id)
  const onStop = (): void => waiting.abort(context.signal.reason)
  const stop = (): void => {
    stopped.abort()
    changes.close()
    context.signal.removeEventListener('abort', onStop)
  }
  context.signal.addEventListener('abort', onStop)
  if (context.signal.aborted) onStop()
  abortWhenChanged()
  return { signal: waiting.signal, stop }

  /** Never rejects: a store that is away is asked again at the next news. */
  async function abortWhenChanged (): Promise<void> {
    while (!stopped.signal.aborted && !waiting.signal.aborted) {
      await changes.waitForChange(waitingRefreshMs, stopped.signal)
      const current = stopped.signal.aborted ? task : await context.taskStore.get(task.id).catch(() => task)
      if (current?.version !== task.version) waiting.abort(new TaskChangedError())
    }
  }
}

/** Too late to be handed over, and yet not over: a task ends at its deadline, unless it is cancelled before. */
async function failAtDeadline (task: Task, failure: TaskFailureCode, context: GenerationContext): Promise<Task | undefined> {
  // A timer may fire a millisecond early.
  while (remainingMs(task, context) > 0) await wait(remainingMs(task, context), context.signal)
  return failTask(task, failure, context)
}

interface SubmissionAttempt extends Partial<SubmissionResult> {
  task: Task | undefined
  outcome?: CreateOutcome
  /** the id of a fresh prediction whose task has ended meanwhile */
  unwantedPredictionId?: string | undefined
}

async function attemptSubmission (task: Task, context: GenerationContext): Promise<SubmissionAttempt> {
  await ensureProviderClock(context)
  const submission = buildSubmission(task, context)
  const age = startAgeClock()
  const marked = await transitionTask(task, { type: 'submit', submission }, context)
  if (!marked.applied) return { task: marked.task }
  const answer = redactOutcome(await sendCreate(marked.task, submission, () => age() < context.intentTtlMs, context), task)
  return { outcome: answer, ...await applyCreateOutcome(marked.task, answer, context) }
}

/** Only the first submission of a process can meet a clock that no answer has told yet. */
async function ensureProviderClock ({ providerClock, replicate, signal }: GenerationContext): Promise<void> {
  if (providerClock.now() === null) await replicate.account({ signal })
}

function buildSubmission (task: Task, { models, now, providerClock, webhookFor }: GenerationContext): SubmissionIntent {
  const model = models[task.style]
  const input = buildInput(model, promptFor(task.style, task.dream), randomInt(2 ** 31))
  return { startedAt: now(), providerStartedAt: providerClock.now(), model, input, webhook: webhookFor(task.id), isAmbiguous: false }
}

/**
 * A stopping instance sends nothing more, but waits for the answer to what it has sent, so that the id of what was paid
 * for is stored.
 * @param isIntentFresh whether the intent is young enough to send what it announces
 */
function sendCreate (task: Task, { model, input, webhook }: SubmissionIntent, isIntentFresh: () => boolean, context: GenerationContext): Promise<CreateOutcome> {
  return context.replicate.create(
    { model, input, webhook: webhook ?? undefined, cancelAfterSeconds: remainingMs(task, context) / 1000 },
    { timeoutMs: remainingMs(task, context), shouldSend: () => !context.signal.aborted && isIntentFresh() }
  )
}

/** By both clocks: the monotonic one stands still while a machine sleeps, the other one can be set back. */
function startAgeClock (): () => number {
  const [monotonic, wall] = [performance.now(), Date.now()]
  return () => Math.max(performance.now() - monotonic, Date.now() - wall)
}

async function applyCreateOutcome (marked: Task, answer: CreateOutcome, context: GenerationContext): Promise<SubmissionAttempt> {
  switch (answer.outcome) {
    case 'created':
      return attachCreated(marked, answer.prediction, context)
    case 'refused':
      return { task: await failTask(marked, answer.failure.code, context, answer.failure) }
    case 'unknown':
      context.log.warn({ task_id: marked.id, ...failureLogFields(answer.failure, marked) }, 'It is not known whether Replicate took the task; searching for its prediction')
      return { task: await markAmbiguous(marked, context) }
    case 'deferred':
      context.log.debug({ task_id: marked.id, ...failureLogFields(answer.failure, marked) }, 'Replicate does not take the task for the moment')
      return { task: (await transitionTask(marked, { type: 'requeue', waitingFor: answer.failure.code }, context)).task }
    case 'withdrawn':
      return { task: (await transitionTask(marked, { type: 'requeue', waitingFor: null }, context)).task }
  }
}

/**
 * A fresh prediction that nobody waits for is unwanted: its task has ended meanwhile. One that another task of the same
 * dream has taken for its own is not: this task looks for the one that the other left.
 */
async function attachCreated (marked: Task, prediction: Prediction, context: GenerationContext): Promise<SubmissionAttempt> {
  const bound = await transitionTask(marked, attachTransition(prediction), context)
  if (bound.applied) context.log.info({ task_id: marked.id, prediction_id: prediction.id }, 'Prediction created')
  if (!bound.applied && bound.isPredictionTaken) return { task: await markAmbiguous(marked, context) }
  const isUnwanted = !bound.applied && bound.task?.predictionId !== prediction.id
  return { task: bound.task, isNew: bound.task?.predictionId === prediction.id, unwantedPredictionId: isUnwanted ? prediction.id : undefined }
}

/**
 * Waits until the search has found out what became of a submission whose answer was lost: it attaches the prediction, or
 * sends the task back to be submitted again. At the deadline the task fails, since nothing is known then.
 */
export async function resolveAmbiguousSubmission (task: Task, context: GenerationContext): Promise<Task | undefined> {
  const changes = context.taskChanges.subscribe(task.id)
  try {
    let current: Task | undefined = await markIfSenderIsGone(task, context)
    while (current?.state === 'submitting') {
      if (remainingMs(task, context) === 0) return await failTask(current, 'submission_unknown', context)
      await changes.waitForChange(Math.min(remainingMs(task, context), refreshMs), context.signal)
      context.signal.throwIfAborted()
      current = await context.taskStore.get(task.id)
    }
    return current
  } finally {
    changes.close()
  }
}

/** This process is not the sender. Where no other can be alive, nothing is sent any more. */
async function markIfSenderIsGone (task: Task, context: GenerationContext): Promise<Task | undefined> {
  return task.submission?.isAmbiguous === false && context.taskStore.isExclusive ? markAmbiguous(task, context) : task
}

async function markAmbiguous (task: Task, context: GenerationContext): Promise<Task | undefined> {
  const marked = await transitionTask(task, { type: 'mark_ambiguous' }, context)
  context.submissionSearch.wake()
  return marked.task
}

function attachTransition ({ id, createdAt }: Prediction): Transition {
  return { type: 'attach_prediction', predictionId: id, predictionCreatedAt: createdAt }
}

function isForbidden (answer: CreateOutcome | undefined): boolean {
  return answer?.outcome === 'deferred' && answer.failure.status === 403
}

/** What others than this task's log lines may hold of the answer. */
function redactOutcome (answer: CreateOutcome, { dream }: Task): CreateOutcome {
  if (!('failure' in answer)) return answer
  return { ...answer, failure: { ...answer.failure, message: redactPrompt(answer.failure.message, dream) } }
}
