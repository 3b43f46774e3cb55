import { randomInt } from 'node:crypto'
import { backoffDelay, wait } from './backoff.ts'
import { linkedSignal } from './linked-signal.ts'
import { inputFor } from './models.ts'
import { findSubmitted } from './prediction-search.ts'
import type { Prediction } from './prediction.ts'
import { loggableWords } from './provider-words.ts'
import type { CreateOutcome } from './replicate-client.ts'
import { promptFor } from './styles.ts'
import type { Move, Submission, Task } from './task.ts'
import type { TaskFailureCode } from './task-failure.ts'
import { dismiss, end, loggable, move, timeLeft, type TaskLife } from './task-life.ts'

/** Replicate's shortest `Cancel-After`: with less time left a task is not handed over any more. */
const shortestGenerationMs = 5_000
/** Looks that find nothing, past that time and this far apart, before the task is handed over again. */
const looksToBeSure = 2
/** A model that the account may not use is its task's trouble alone, so that task waits without holding up others. */
const afterForbidden = { first: 30_000, longest: 30_000 }
const betweenLooks = { first: 4_000, longest: 30_000 }

/** Hands a queued task to Replicate, once: the mark is on disk before the POST, the prediction's id right after it. */
export async function submit (task: Task, life: TaskLife): Promise<Task | undefined> {
  let handed: Handover = { task }
  const passage = { order: task.createdAt, withinMs: timeLeft(task, life) - shortestGenerationMs, signal: life.signal }
  const isInTime = await life.createGate.pass(passage, async () => {
    handed = await handOver(task, life)
    return handed.answer
  })
  if (!isInTime) return endAtDeadline(task, life.createGate.reason ?? task.waitingFor ?? 'deadline_exceeded', life)
  if (handed.unwanted !== undefined) await dismiss(handed.unwanted, task, life)
  if (isForbidden(handed.answer)) await wait(Math.min(timeLeft(task, life), backoffDelay(0, afterForbidden)), life.signal)
  return handed.task
}

/** Too late to be handed over, and yet not over: a task ends at its deadline, unless it is cancelled before. */
async function endAtDeadline (task: Task, failure: TaskFailureCode, life: TaskLife): Promise<Task | undefined> {
  // A timer may fire a millisecond early.
  while (timeLeft(task, life) > 0) await wait(timeLeft(task, life), life.signal)
  return end(task, failure, life)
}

interface Handover {
  task: Task | undefined
  answer?: CreateOutcome
  /** the id of a fresh prediction whose task has ended meanwhile */
  unwanted?: string | undefined
}

async function handOver (task: Task, life: TaskLife): Promise<Handover> {
  const submission = submissionOf(task, life)
  const marked = await move(task, { type: 'submit', submission }, life)
  if (!marked.won) return { task: marked.task }
  const answer = withLoggableWords(await post(marked.task, submission, life), task)
  return { answer, ...await settleAnswer(marked.task, answer, life) }
}

function submissionOf (task: Task, { models, now, webhookFor }: TaskLife): Submission {
  const model = models[task.style]
  const input = inputFor(model, promptFor(task.style, task.dream), randomInt(2 ** 31))
  return { startedAt: now(), model, input, webhook: webhookFor(task.id) }
}

/** Not bound to the signal: a stopping instance waits for the answer, so that the id of what was paid for is stored. */
function post (task: Task, { model, input, startedAt, webhook }: Submission, life: TaskLife): Promise<CreateOutcome> {
  return life.replicate.create(
    { model, input, webhook: webhook ?? undefined, cancelAfterSeconds: timeLeft(task, life) / 1000 },
    { mayStillSend: () => life.now() - startedAt < markValidMs(life) }
  )
}

async function settleAnswer (marked: Task, answer: CreateOutcome, life: TaskLife): Promise<Handover> {
  switch (answer.outcome) {
    case 'created':
      return bindCreated(marked, answer.prediction, life)
    case 'refused':
      return { task: await end(marked, answer.failure.code, life, answer.failure) }
    case 'unknown':
      life.log.warn({ task_id: marked.id, ...loggable(answer.failure, marked) }, 'It is not known whether Replicate took the task; looking for its prediction')
      return { task: marked }
    case 'deferred':
      life.log.debug({ task_id: marked.id, ...loggable(answer.failure, marked) }, 'Replicate does not take the task for the moment')
      return { task: (await move(marked, { type: 'withdraw', waitingFor: answer.failure.code }, life)).task }
    case 'withdrawn':
      return { task: (await move(marked, { type: 'withdraw', waitingFor: null }, life)).task }
  }
}

/**
 * A fresh prediction that nobody waits for is unwanted: its task has ended meanwhile. One that another task of the same
 * dream has taken for its own is not: this task looks for the one that the other left.
 */
async function bindCreated (marked: Task, prediction: Prediction, life: TaskLife): Promise<Handover> {
  const bound = await move(marked, bindingOf(prediction), life)
  if (bound.won) life.log.info({ task_id: marked.id, prediction_id: prediction.id }, 'Prediction created')
  const isUnwanted = !bound.won && !bound.predictionTaken && bound.task?.predictionId !== prediction.id
  return { task: bound.task, unwanted: isUnwanted ? prediction.id : undefined }
}

/**
 * What became of a submission of which nobody knows whether it arrived: its prediction is adopted where it is found.
 * Only when looks past the time of any sender have found nothing, the task goes back to be handed over again.
 */
export async function settleSubmission (task: Task, life: TaskLife): Promise<Task | undefined> {
  const { replicate, signal } = life
  const { submission } = task
  if (submission === null) throw new Error(`Task ${task.id} is being submitted without a mark`)
  let current: Task | undefined = task
  let isBlind = true
  for (let attempt = 0, looks = 0; current?.version === task.version && timeLeft(task, life) > 0; attempt++) {
    const isSettled = life.now() >= submission.startedAt + submissionMs(life)
    const inTime = linkedSignal(signal, Math.ceil(timeLeft(task, life)))
    const look = await findSubmitted(submission, replicate, { submissionMs: submissionMs(life), signal: inTime.signal }).finally(inTime.unlink)
    signal.throwIfAborted()
    isBlind = look.outcome === 'unavailable'
    if (look.outcome === 'unavailable') {
      life.log.debug({ task_id: task.id, ...loggable(look.failure, task) }, 'Could not look for a prediction; looking again')
    } else {
      const adopted = await adopt(task, look.candidates, life)
      if (adopted !== 'none') return adopted.task
      if (isSettled && ++looks >= looksToBeSure) return resubmit(task, life)
    }
    await wait(Math.min(timeLeft(task, life), backoffDelay(isBlind ? attempt : 0, betweenLooks)), signal)
    current = await life.taskStore.get(task.id)
  }
  if (current?.version !== task.version) {
    if (current?.stage === 'failed' && current.predictionId === null) await cancelOrphan(task, submission, life)
    return current
  }
  return end(task, isBlind ? 'submission_unknown' : 'deadline_exceeded', life)
}

/** `none`: no candidate, or every one belongs to another task. */
async function adopt (task: Task, candidates: Prediction[], life: TaskLife): Promise<'none' | { task: Task | undefined }> {
  for (const prediction of candidates) {
    const bound = await move(task, bindingOf(prediction), life)
    if (bound.won) life.log.info({ task_id: task.id, prediction_id: prediction.id }, 'Prediction found')
    if (bound.won || !bound.predictionTaken) return { task: bound.task }
  }
  return 'none'
}

/**
 * The task ended while nobody knew of a prediction: one that names it is cancelled, what may be another task's is left
 * alone. Not for a task that is still open: another instance may have handed it over once more, under the same address.
 */
async function cancelOrphan (task: Task, submission: Submission, life: TaskLife): Promise<void> {
  const look = await findSubmitted(submission, life.replicate, { submissionMs: submissionMs(life), signal: life.signal })
  if (look.outcome !== 'found') return
  const own = look.candidates.filter(({ webhook }) => webhook !== null)
  for (const { id } of own) await dismiss(id, task, life)
}

async function resubmit (task: Task, life: TaskLife): Promise<Task | undefined> {
  life.log.info({ task_id: task.id }, 'Replicate has not taken the task; handing it over again')
  return (await move(task, { type: 'withdraw', waitingFor: null }, life)).task
}

/** A process that was frozen for longer between the mark and the POST does not send: its successor may have sent. */
function markValidMs ({ createTimeoutMs }: TaskLife): number {
  return createTimeoutMs / 3
}

/** From the mark on, whoever made it: after this time nobody can still be sending, or waiting for an answer. */
function submissionMs (life: TaskLife): number {
  return markValidMs(life) + life.createTimeoutMs
}

function bindingOf ({ id, createdAt }: Prediction): Move {
  return { type: 'bind', predictionId: id, predictionCreatedAt: createdAt }
}

function isForbidden (answer: CreateOutcome | undefined): boolean {
  return answer?.outcome === 'deferred' && answer.failure.status === 403
}

/** What others than this task's log lines may hold of the answer. */
function withLoggableWords (answer: CreateOutcome, { dream }: Task): CreateOutcome {
  if (!('failure' in answer)) return answer
  return { ...answer, failure: { ...answer.failure, words: loggableWords(answer.failure.words, dream) } }
}
