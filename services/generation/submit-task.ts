import { randomInt } from 'node:crypto'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import { inputFor } from '../replicate/models.ts'
import type { Prediction } from '../replicate/prediction.ts'
import { loggableWords } from '../replicate/redact-prompt.ts'
import type { CreateOutcome } from '../replicate/outcomes.ts'
import { promptFor } from '../tasks/styles.ts'
import type { Transition, SubmissionIntent, Task } from '../tasks/task.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import { dismiss, end, loggable, move, reasonOfWaiting, timeLeft, type TaskLife } from './held-task.ts'

/** Replicate's shortest `Cancel-After`: with less time left a task is not handed over any more. */
const shortestGenerationMs = 5_000
/** A model that the account may not use is its task's trouble alone, so that task waits without holding up others. */
const afterForbidden = { firstMs: 30_000, maxMs: 30_000 }
/** News of a change can be missed: the row is read again after this time. */
const recheckMs = 2_000
const recheckWaitingMs = 60_000

export interface Submitted {
  task: Task | undefined
  /** whether this instance has created the task's prediction just now */
  isNew: boolean
}

/** Hands a queued task to Replicate, once: the mark is on disk before the POST, the prediction's id right after it. */
export async function submit (task: Task, life: TaskLife): Promise<Submitted> {
  let handed: Handover = { task }
  const waiting = watchWhileWaiting(task, life)
  const passage = { order: task.createdAt, withinMs: timeLeft(task, life) - shortestGenerationMs, signal: waiting.signal }
  const isInTime = await life.createGate.pass(passage, async () => {
    waiting.stop()
    handed = await handOver(task, life)
    return handed.answer
  }).catch((error: unknown) => {
    if (error instanceof TaskChangedError) return 'changed' as const
    throw error
  }).finally(waiting.stop)
  if (isInTime === 'changed') return { task: await life.taskStore.get(task.id), isNew: false }
  if (!isInTime) return { task: await endAtDeadline(task, reasonOfWaiting(task, life), life), isNew: false }
  if (handed.unwanted !== undefined) await dismiss(handed.unwanted, task, life)
  if (isForbidden(handed.answer)) await wait(Math.min(timeLeft(task, life), backoffDelay(0, afterForbidden)), life.signal)
  return { task: handed.task, isNew: handed.isNew === true }
}

class TaskChangedError extends Error {}

/**
 * A signal that is aborted when the task is not as it was any more: one that was canceled or bound by a webhook takes no
 * place at the gate, and nothing of the budget of creates.
 */
function watchWhileWaiting (task: Task, life: TaskLife): { signal: AbortSignal, stop: () => void } {
  const waiting = new AbortController()
  const stopped = new AbortController()
  const changes = life.taskChanges.subscribe(task.id)
  const onStop = (): void => waiting.abort(life.signal.reason)
  const stop = (): void => {
    stopped.abort()
    changes.close()
    life.signal.removeEventListener('abort', onStop)
  }
  life.signal.addEventListener('abort', onStop)
  if (life.signal.aborted) onStop()
  abortWhenChanged()
  return { signal: waiting.signal, stop }

  /** Never rejects: a store that is away is asked again at the next news. */
  async function abortWhenChanged (): Promise<void> {
    while (!stopped.signal.aborted && !waiting.signal.aborted) {
      await changes.next(recheckWaitingMs, stopped.signal)
      const current = stopped.signal.aborted ? task : await life.taskStore.get(task.id).catch(() => task)
      if (current?.version !== task.version) waiting.abort(new TaskChangedError())
    }
  }
}

/** Too late to be handed over, and yet not over: a task ends at its deadline, unless it is cancelled before. */
async function endAtDeadline (task: Task, failure: TaskFailureCode, life: TaskLife): Promise<Task | undefined> {
  // A timer may fire a millisecond early.
  while (timeLeft(task, life) > 0) await wait(timeLeft(task, life), life.signal)
  return end(task, failure, life)
}

interface Handover extends Partial<Submitted> {
  task: Task | undefined
  answer?: CreateOutcome
  /** the id of a fresh prediction whose task has ended meanwhile */
  unwanted?: string | undefined
}

async function handOver (task: Task, life: TaskLife): Promise<Handover> {
  await learnClock(life)
  const submission = submissionOf(task, life)
  const age = intentAge()
  const marked = await move(task, { type: 'submit', submission }, life)
  if (!marked.won) return { task: marked.task }
  const answer = withLoggableWords(await post(marked.task, submission, () => age() < life.intentTtlMs, life), task)
  return { answer, ...await settleAnswer(marked.task, answer, life) }
}

/** Only the first submission of a process can meet a clock that no answer has told yet. */
async function learnClock ({ providerClock, replicate, signal }: TaskLife): Promise<void> {
  if (providerClock.now() === null) await replicate.account({ signal })
}

function submissionOf (task: Task, { models, now, providerClock, webhookFor }: TaskLife): SubmissionIntent {
  const model = models[task.style]
  const input = inputFor(model, promptFor(task.style, task.dream), randomInt(2 ** 31))
  return { startedAt: now(), providerStartedAt: providerClock.now(), model, input, webhook: webhookFor(task.id), isAmbiguous: false }
}

/**
 * A stopping instance sends nothing more, but waits for the answer to what it has sent, so that the id of what was paid
 * for is stored.
 * @param isValid whether the intent is young enough to send what it announces
 */
function post (task: Task, { model, input, webhook }: SubmissionIntent, isValid: () => boolean, life: TaskLife): Promise<CreateOutcome> {
  return life.replicate.create(
    { model, input, webhook: webhook ?? undefined, cancelAfterSeconds: timeLeft(task, life) / 1000 },
    { timeoutMs: timeLeft(task, life), shouldSend: () => !life.signal.aborted && isValid() }
  )
}

/** By both clocks: the monotonic one stands still while a machine sleeps, the other one can be set back. */
function intentAge (): () => number {
  const [monotonic, wall] = [performance.now(), Date.now()]
  return () => Math.max(performance.now() - monotonic, Date.now() - wall)
}

async function settleAnswer (marked: Task, answer: CreateOutcome, life: TaskLife): Promise<Handover> {
  switch (answer.outcome) {
    case 'created':
      return bindCreated(marked, answer.prediction, life)
    case 'refused':
      return { task: await end(marked, answer.failure.code, life, answer.failure) }
    case 'unknown':
      life.log.warn({ task_id: marked.id, ...loggable(answer.failure, marked) }, 'It is not known whether Replicate took the task; searching for its prediction')
      return { task: await markAmbiguous(marked, life) }
    case 'deferred':
      life.log.debug({ task_id: marked.id, ...loggable(answer.failure, marked) }, 'Replicate does not take the task for the moment')
      return { task: (await move(marked, { type: 'requeue', waitingFor: answer.failure.code }, life)).task }
    case 'withdrawn':
      return { task: (await move(marked, { type: 'requeue', waitingFor: null }, life)).task }
  }
}

/**
 * A fresh prediction that nobody waits for is unwanted: its task has ended meanwhile. One that another task of the same
 * dream has taken for its own is not: this task looks for the one that the other left.
 */
async function bindCreated (marked: Task, prediction: Prediction, life: TaskLife): Promise<Handover> {
  const bound = await move(marked, bindingOf(prediction), life)
  if (bound.won) life.log.info({ task_id: marked.id, prediction_id: prediction.id }, 'Prediction created')
  if (!bound.won && bound.predictionTaken) return { task: await markAmbiguous(marked, life) }
  const isUnwanted = !bound.won && bound.task?.predictionId !== prediction.id
  return { task: bound.task, isNew: bound.task?.predictionId === prediction.id, unwanted: isUnwanted ? prediction.id : undefined }
}

/**
 * Waits until the search has found out what became of a submission whose answer was lost: it attaches the prediction, or
 * sends the task back to be submitted again. At the deadline the task fails, since nothing is known then.
 */
export async function awaitSearch (task: Task, life: TaskLife): Promise<Task | undefined> {
  const changes = life.taskChanges.subscribe(task.id)
  try {
    let current: Task | undefined = await markWhereSenderIsGone(task, life)
    while (current?.state === 'submitting') {
      if (timeLeft(task, life) === 0) return await end(current, 'submission_unknown', life)
      await changes.next(Math.min(timeLeft(task, life), recheckMs), life.signal)
      life.signal.throwIfAborted()
      current = await life.taskStore.get(task.id)
    }
    return current
  } finally {
    changes.close()
  }
}

/** This process is not the sender. Where no other can be alive, nothing is sent any more. */
async function markWhereSenderIsGone (task: Task, life: TaskLife): Promise<Task | undefined> {
  return task.submission?.isAmbiguous === false && life.taskStore.isExclusive ? markAmbiguous(task, life) : task
}

async function markAmbiguous (task: Task, life: TaskLife): Promise<Task | undefined> {
  const marked = await move(task, { type: 'mark_ambiguous' }, life)
  life.submissionSearch.wake()
  return marked.task
}

function bindingOf ({ id, createdAt }: Prediction): Transition {
  return { type: 'attach_prediction', predictionId: id, predictionCreatedAt: createdAt }
}

function isForbidden (answer: CreateOutcome | undefined): boolean {
  return answer?.outcome === 'deferred' && answer.failure.status === 403
}

/** What others than this task's log lines may hold of the answer. */
function withLoggableWords (answer: CreateOutcome, { dream }: Task): CreateOutcome {
  if (!('failure' in answer)) return answer
  return { ...answer, failure: { ...answer.failure, words: loggableWords(answer.failure.words, dream) } }
}
