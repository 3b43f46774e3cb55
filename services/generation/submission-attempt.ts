import { randomInt } from 'node:crypto'
import { buildInput } from '../replicate/models.ts'
import type { CreateOutcome } from '../replicate/outcomes.ts'
import type { Prediction } from '../replicate/prediction.ts'
import { redactPrompt } from '../replicate/redact-prompt.ts'
import { promptFor } from '../tasks/styles.ts'
import type { SubmissionIntent, Task, Transition } from '../tasks/task.ts'
import { markAmbiguous } from './ambiguous-submission.ts'
import { failTask, failureLogFields, remainingMs, transitionTask, type GenerationContext } from './held-task.ts'

export interface SubmissionAttempt {
  task: Task | undefined
  /** whether this attempt has created the task's prediction */
  isNew?: boolean
  /** of the create; undefined where none was sent. Its failure message holds nothing of the dream. */
  outcome?: CreateOutcome
  /** the id of a fresh prediction whose task has ended meanwhile */
  unwantedPredictionId?: string | undefined
}

/** Makes one attempt: the intent is stored before the POST, and the outcome of the POST right after it. */
export async function attemptSubmission (task: Task, context: GenerationContext): Promise<SubmissionAttempt> {
  await ensureProviderClock(context)
  const submission = buildSubmission(task, context)
  const age = startAgeClock()
  const submitting = await transitionTask(task, { type: 'submit', submission }, context)
  if (!submitting.applied) return { task: submitting.task }
  const outcome = redactOutcome(await sendCreate(submitting.task, submission, () => age() < context.intentTtlMs, context), task)
  return { outcome, ...await applyCreateOutcome(submitting.task, outcome, context) }
}

/** The clock is unknown only before the first response of Replicate to this process. */
async function ensureProviderClock ({ providerClock, replicate, signal }: GenerationContext): Promise<void> {
  if (providerClock.now() === null) await replicate.account({ signal })
}

function buildSubmission (task: Task, { models, now, providerClock, webhookFor }: GenerationContext): SubmissionIntent {
  const model = models[task.style]
  const input = buildInput(model, promptFor(task.style, task.dream), randomInt(2 ** 31))
  return { startedAt: now(), providerStartedAt: providerClock.now(), model, input, webhook: webhookFor(task.id), isAmbiguous: false }
}

/**
 * Sends the create. A stopping instance sends nothing more, but waits for the response to what it has sent, so that the id of
 * a paid prediction is stored.
 * @param isIntentFresh whether the submission intent is still valid
 */
function sendCreate (task: Task, { model, input, webhook }: SubmissionIntent, isIntentFresh: () => boolean, context: GenerationContext): Promise<CreateOutcome> {
  return context.replicate.create(
    { model, input, webhook: webhook ?? undefined, cancelAfterSeconds: remainingMs(task, context) / 1000 },
    { timeoutMs: remainingMs(task, context), shouldSend: () => !context.signal.aborted && isIntentFresh() }
  )
}

/** Measures by both clocks: the monotonic clock stands still while the machine sleeps, the wall clock can be set back. */
function startAgeClock (): () => number {
  const [monotonic, wall] = [performance.now(), Date.now()]
  return () => Math.max(performance.now() - monotonic, Date.now() - wall)
}

async function applyCreateOutcome (submitting: Task, outcome: CreateOutcome, context: GenerationContext): Promise<SubmissionAttempt> {
  switch (outcome.outcome) {
    case 'created':
      return attachCreated(submitting, outcome.prediction, context)
    case 'refused':
      return { task: await failTask(submitting, outcome.failure.code, context, outcome.failure) }
    case 'unknown':
      context.log.warn({ task_id: submitting.id, ...failureLogFields(outcome.failure, submitting) }, 'It is not known whether Replicate has created a prediction; searching for it')
      return { task: await markAmbiguous(submitting, context) }
    case 'deferred':
      context.log.debug({ task_id: submitting.id, ...failureLogFields(outcome.failure, submitting) }, 'Replicate does not take the task at the moment')
      return { task: (await transitionTask(submitting, { type: 'requeue', waitingFor: outcome.failure.code }, context)).task }
    case 'withdrawn':
      return { task: (await transitionTask(submitting, { type: 'requeue', waitingFor: null }, context)).task }
  }
}

/**
 * Attaches a fresh prediction to its task. If the task has ended meanwhile, the prediction is unwanted. If another task of the
 * same dream has taken the prediction, it is not: this task searches for the prediction that the other task left.
 */
async function attachCreated (submitting: Task, prediction: Prediction, context: GenerationContext): Promise<SubmissionAttempt> {
  const attached = await transitionTask(submitting, attachTransition(prediction), context)
  if (attached.applied) context.log.info({ task_id: submitting.id, prediction_id: prediction.id }, 'Prediction created')
  if (!attached.applied && attached.isPredictionTaken) return { task: await markAmbiguous(submitting, context) }
  const isUnwanted = !attached.applied && attached.task?.predictionId !== prediction.id
  return { task: attached.task, isNew: attached.task?.predictionId === prediction.id, unwantedPredictionId: isUnwanted ? prediction.id : undefined }
}

function attachTransition ({ id, createdAt }: Prediction): Transition {
  return { type: 'attach_prediction', predictionId: id, predictionCreatedAt: createdAt }
}

/** The outcome also reaches the gate, which logs its message and does not know the dream. */
function redactOutcome (outcome: CreateOutcome, { dream }: Task): CreateOutcome {
  if (!('failure' in outcome)) return outcome
  return { ...outcome, failure: { ...outcome.failure, message: redactPrompt(outcome.failure.message, dream) } }
}
