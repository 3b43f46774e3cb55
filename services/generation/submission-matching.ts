import { isDeepStrictEqual } from 'node:util'
import { parseModel } from '../replicate/models.ts'
import type { Prediction } from '../replicate/prediction.ts'
import type { SubmissionIntent } from '../tasks/task.ts'

/** The members of a prediction that a search compares. */
export type FoundPrediction = Pick<Prediction, 'id' | 'status' | 'model' | 'version' | 'input' | 'source' | 'webhook' | 'createdAt' | 'dataRemoved'>

export interface Candidate {
  prediction: FoundPrediction
  /** Whether the prediction itself was read: an item of the list can lack its input or its webhook. */
  isRead: boolean
}

export interface OpenSubmission {
  taskId: string
  submission: SubmissionIntent
  /** when it was started, by the provider's clock, ms since the epoch */
  startedAt: number
  /**
   * - `in_doubt`: its prediction is searched for
   * - `awaiting_answer`: its sender still waits for the response to the create
   * - `canceled`: its task has ended; a prediction of its own is to be canceled
   */
  state: 'in_doubt' | 'awaiting_answer' | 'canceled'
  /** ms after its start until which its request can have arrived */
  arrivalMs: number
}

/** What a search has found for one submission in doubt. */
export type Match =
  /** This is its prediction. */
  | { outcome: 'found', prediction: FoundPrediction }
  /** A candidate that can be its prediction could not be read yet, or can belong to a submission that still awaits its answer. */
  | { outcome: 'undecided' }
  /** There is no prediction, or only an unlikely one: older than the submission, or ended without a video. */
  | { outcome: 'absent', unlikely: FoundPrediction | undefined }
  /** The provider has removed the data of a candidate that can be its prediction, so it cannot be recognised any more. */
  | { outcome: 'wiped' }

export interface Matching {
  /** by task, for each submission in doubt */
  matches: Map<string, Match>
  /** predictions of canceled tasks that still run */
  unwanted: Array<{ taskId: string, prediction: FoundPrediction }>
}

/** Allows for the precision of the provider's clock here, and for clocks of its machines that differ. */
const toleranceMs = 3_000
/** The `Date` header has whole seconds, so the start of a submission by the provider's clock is known to half a second. */
const clockErrorMs = 500
/** A prediction that is older than a submission by more than this certainly belongs to another one. */
export const maxSkewMs = 120_000

/**
 * Whether a prediction can belong to a submission, by the members that it shows. A missing member counts as equal; in a
 * prediction that was read itself, only the input can be missing, because the provider has removed it.
 */
export function canMatch ({ prediction, isRead }: Candidate, { model, input, webhook }: SubmissionIntent): boolean {
  return prediction.source !== 'web' &&
    (prediction.webhook === null || prediction.webhook === webhook) &&
    hasModel(prediction, model) &&
    (prediction.input === null ? !isRead || prediction.dataRemoved : hasInput(prediction.input, input))
}

/**
 * Assigns predictions that belong to no task to submissions, one to one and always the same way for the same arguments.
 * A webhook address that names the task and an input with a seed are certain. Predictions of the same input are assigned
 * in the order of their creation to the submissions in the order of their start, those that still wait for an answer
 * included: of two submissions of one dream each gets a prediction that one of the two has made. A prediction that cannot
 * be recognised is assigned to none, but counts for all that can have made it.
 * @param candidates all that belong to no task
 */
export function matchSubmissions (submissions: OpenSubmission[], candidates: Candidate[]): Matching {
  const matching: Matching = { matches: new Map(), unwanted: [] }
  const pool = new CandidatePool(candidates)
  const inOrder = submissions.toSorted((a, b) => a.startedAt - b.startedAt || (a.taskId < b.taskId ? -1 : 1))
  for (const submission of inOrder) takeNamed(submission, pool, matching)
  const left = inOrder.filter(({ taskId, state }) => state !== 'canceled' && !matching.matches.has(taskId))
  const unmatched = left.filter((submission) => !takeLikely(submission, pool, matching))
  for (const submission of unmatched.filter(({ state }) => state === 'in_doubt')) takeUnlikely(submission, pool, matching)
  return matching
}

/** Takes the predictions that only this submission can have created: by the webhook that names its task, or by its seed. */
function takeNamed (submission: OpenSubmission, pool: CandidatePool, { matches, unwanted }: Matching): void {
  const own = pool.candidatesFor(submission).filter((candidate) => isNamed(candidate, submission)).map(({ prediction }) => prediction)
  if (submission.state === 'canceled') {
    unwanted.push(...own.filter(({ status }) => !isOver(status)).map((prediction) => ({ taskId: submission.taskId, prediction })))
  }
  const [first] = own.filter(({ status }) => !isFailed(status)).sort(byCreation)
  if (submission.state === 'in_doubt' && first !== undefined) matches.set(submission.taskId, { outcome: 'found', prediction: first })
  // No other task can take them. One that has failed is left, as the last resort of this submission.
  for (const prediction of own) if (!isFailed(prediction.status)) pool.take(prediction, 'taken')
}

/** A submission that awaits its answer can turn out to have made none, so the prediction is only reserved for it. */
function takeLikely (submission: OpenSubmission, pool: CandidatePool, { matches }: Matching): boolean {
  const isOlder = ({ createdAt }: FoundPrediction): number => Number((createdAt ?? 0) < submission.startedAt - clockErrorMs)
  const [first] = pool.candidatesFor(submission).filter((candidate) => isLikely(candidate, submission))
    .sort((a, b) => Number(b.isRead) - Number(a.isRead) || isOlder(a.prediction) - isOlder(b.prediction) || byCreation(a.prediction, b.prediction))
  if (first === undefined) return false
  const isInDoubt = submission.state === 'in_doubt'
  if (first.isRead) pool.take(first.prediction, isInDoubt ? 'taken' : 'reserved')
  if (isInDoubt) matches.set(submission.taskId, first.isRead ? { outcome: 'found', prediction: first.prediction } : { outcome: 'undecided' })
  return true
}

/** A prediction that cannot be recognised is not taken: it can belong to each submission near it, so none of these is submitted again. */
function takeUnlikely (submission: OpenSubmission, pool: CandidatePool, { matches }: Matching): void {
  const near = pool.candidatesFor(submission).filter(({ prediction }) => isNear(prediction, submission))
  const [best] = near.filter(({ isRead, prediction }) => isRead && prediction.input !== null)
    .sort((a, b) => rank(a, submission) - rank(b, submission) || byCreation(a.prediction, b.prediction))
  const isOwn = best !== undefined && isNamed(best, submission)
  const isUndecided = near.some(({ isRead }) => !isRead) || pool.candidatesFor(submission, 'reserved').some((candidate) => isLikely(candidate, submission))
  if (!isOwn && isUndecided) {
    matches.set(submission.taskId, { outcome: 'undecided' })
  } else if (!isOwn && near.some(({ prediction }) => prediction.input === null)) {
    matches.set(submission.taskId, { outcome: 'wiped' })
  } else {
    if (best !== undefined) pool.take(best.prediction, 'taken')
    matches.set(submission.taskId, { outcome: 'absent', unlikely: best?.prediction })
  }
}

function isNamed (candidate: Candidate, { submission }: OpenSubmission): boolean {
  const { webhook, input } = candidate.prediction
  return webhook === null ? input !== null && 'seed' in submission.input : webhook === submission.webhook
}

/** Created while the request can have arrived, and not failed. One whose data was removed is never likely: its input is unknown. */
function isLikely ({ prediction, isRead }: Candidate, { submission, startedAt, arrivalMs }: OpenSubmission): boolean {
  const { createdAt, status, input, webhook } = prediction
  if (createdAt === null || isFailed(status) || (isRead && (input === null || webhook !== submission.webhook))) return false
  return createdAt >= startedAt - toleranceMs && createdAt <= startedAt + arrivalMs + toleranceMs
}

function isNear ({ createdAt }: FoundPrediction, { startedAt, arrivalMs }: OpenSubmission): boolean {
  return createdAt === null || (createdAt >= startedAt - maxSkewMs && createdAt <= startedAt + arrivalMs + maxSkewMs)
}

/** A prediction that has ended without a video is the last choice. */
function rank (candidate: Candidate, submission: OpenSubmission): number {
  return (isNamed(candidate, submission) ? 0 : 1) + (isFailed(candidate.prediction.status) ? 2 : 0)
}

function byCreation (a: FoundPrediction, b: FoundPrediction): number {
  return (a.createdAt ?? 0) - (b.createdAt ?? 0) || (a.id < b.id ? -1 : 1)
}

function isFailed (status: string): boolean {
  return status === 'failed' || status === 'canceled' || status === 'aborted'
}

function isOver (status: string): boolean {
  return status === 'succeeded' || isFailed(status)
}

function hasModel ({ model, version }: FoundPrediction, wanted: string): boolean {
  const parsed = parseModel(wanted)
  if (!parsed.ok) return false
  if (model !== null && model.toLowerCase() !== `${parsed.owner}/${parsed.name}`.toLowerCase()) return false
  return parsed.version === undefined || version === null || version === parsed.version
}

function hasInput (input: Record<string, unknown>, wanted: Record<string, unknown>): boolean {
  return Object.entries(wanted).every(([name, value]) => isDeepStrictEqual(input[name], value))
}

/** All candidates and what is left of them, indexed by prompt, because comparing all with all takes quadratic time. */
class CandidatePool {
  #byPrompt
  #states = new Map<string, 'taken' | 'reserved'>()

  constructor (candidates: Candidate[]) {
    this.#byPrompt = Map.groupBy(candidates, ({ prediction }) => prediction.input?.prompt)
  }

  candidatesFor ({ submission }: OpenSubmission, state?: 'reserved'): Candidate[] {
    return [...this.#byPrompt.get(submission.input.prompt) ?? [], ...this.#byPrompt.get(undefined) ?? []]
      .filter((candidate) => this.#states.get(candidate.prediction.id) === state && canMatch(candidate, submission))
  }

  take ({ id }: FoundPrediction, state: 'taken' | 'reserved'): void {
    this.#states.set(id, state)
  }
}
