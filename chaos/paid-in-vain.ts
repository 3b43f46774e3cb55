import type { Emulator } from '../replicate-emulator/emulator.ts'
import { endingError, endingOutput } from '../replicate-emulator/outcome.ts'
import { isWiped, type Prediction } from '../replicate-emulator/prediction.ts'
import { dreamKey } from './observations.ts'
import type { TaskEnd } from './task-ends.ts'

/** What the accounts need to know of a prediction. */
export interface PaidPrediction {
  id: string
  /** of the dream */
  key: string
  /** by another client of the account: the service has not paid for it */
  isForeign: boolean
  /** It was made with a webhook, so that it cannot be taken for that of another task or client. */
  hasWebhook: boolean
  /** What its output is: an address with a video, an address with something else, or nothing of use. */
  output: 'video' | 'no video' | 'nothing'
  /** its data and files are removed */
  isWiped: boolean
  /** It has a video that is kept, or was cancelled after it began: either a task has to use it, or a client has cancelled a task. */
  isPaid: boolean
  /** how it was made and how it ended, for a reader of a finding */
  history: string
}

/** The predictions as they are now. @param cancelled  the ids of the predictions that a call has ended */
export function describePredictions ({ log, now }: Emulator, cancelled: ReadonlySet<string>): PaidPrediction[] {
  return log.all.map((prediction) => {
    const described = {
      id: prediction.id,
      key: dreamKey(prediction.input.prompt),
      isForeign: prediction.isForeign,
      hasWebhook: prediction.webhook !== undefined,
      output: outputOf(prediction),
      isWiped: isWiped(prediction, now()),
      history: describeHistory(prediction, cancelled.has(prediction.id))
    }
    const isOfUse = cancelled.has(prediction.id) || (described.output === 'video' && !described.isWiped)
    return { ...described, isPaid: prediction.startsAt < prediction.endsAt && isOfUse }
  })
}

/** With true times; `shown` is the time of creation by the clock that clients see. */
function describeHistory (prediction: Prediction, isCancelled: boolean): string {
  const { ending, webhook, createdAt, createdMicros, startsAt, endsAt, keptMs } = prediction
  const time = (ms: number) => new Date(ms).toISOString()
  const end = [ending.status, endingError(ending), isCancelled && 'by a call'].filter(Boolean).join(' ')
  return `created ${time(createdAt)} (shown ${time(createdMicros / 1000)}), began ${time(startsAt)}, ` +
    `ended ${time(endsAt)} ${end}, kept for ${keptMs} ms, webhook ${webhook ?? 'none'}`
}

function outputOf ({ id, ending }: Prediction): PaidPrediction['output'] {
  const output = JSON.stringify(endingOutput(ending, { video: id, apiVideo: id, thumbnail: '' }))
  if (ending.status !== 'succeeded' || output?.includes(id) !== true) return 'nothing'
  const { content = 'video', bytes = Infinity } = ending.video ?? {}
  return content === 'video' && bytes >= minVideoBytes ? 'video' : 'no video'
}

/** Shorter files end within the index of the sample. */
const minVideoBytes = 5_000

/** The account of all tasks and predictions of one dream. */
export interface Account {
  key: string
  tasks: TaskEnd[]
  predictions: PaidPrediction[]
  /** The predictions that no task used, and how many of them were paid in vain. */
  unused: PaidPrediction[]
  inVain: number
  /** How many more tasks failed with a verdict, or have lost their video, than predictions gave a reason for. */
  failedForNothing: number
}

/** The lines of an account: each task with its end, and each prediction that no task was given. */
export function describeAccount ({ tasks, predictions }: Account): string[] {
  const given = new Set(tasks.map((task) => task.given))
  return [
    ...tasks.map(({ id, error, given: video, isVideoLost }) => `task ${id} ${error ?? (isVideoLost ? 'lost its video' : `has the video of ${video ?? 'no prediction'}`)}`),
    ...predictions.filter(({ id, isForeign }) => isForeign ? given.has(id) : !given.has(id)).map(({ id, isForeign, output, isWiped: isGone, isPaid, history }) =>
      `prediction ${id}${isForeign ? ' of another client' : ' unused'}${isPaid ? ', paid' : ''}: output ${output}${isGone ? ', wiped' : ''}, ${history}`)
  ]
}

/** The error codes that the prediction of a task can give. */
const verdicts: unknown[] = ['content_policy', 'provider_error', 'no_output', 'storage_failed']

/**
 * Compares the tasks and the predictions of each dream. A video that no task was given, and a prediction that was cancelled,
 * are paid in vain, unless a client has cancelled a task of the dream: each cancelled task excuses one prediction. A
 * prediction that ended without a video, or that was wiped, is in vain if no task is left that failed or lost its video, so that it
 * may have had this prediction.
 *
 * Nothing tells a prediction of another client from one of the service if neither has a webhook. So a task may have such a foreign
 * prediction, which then excuses one of the service’s predictions without a webhook.
 *
 * @param tasks  every task of the service, also those that no client knows
 */
export function reconcile (tasks: TaskEnd[], predictions: PaidPrediction[]): Account[] {
  const tasksByKey = Map.groupBy(tasks, ({ key }) => key)
  return [...Map.groupBy(predictions, ({ key }) => key)].map(([key, ofDream]) => reconcileDream(key, tasksByKey.get(key) ?? [], ofDream))
}

function reconcileDream (key: string, tasks: TaskEnd[], predictions: PaidPrediction[]): Account {
  const given = new Set(tasks.map((task) => task.given))
  const left = predictions.filter(({ id, isForeign }) => !isForeign && !given.has(id))
  const [paid, free] = [left.filter(({ isPaid }) => isPaid), left.filter(({ isPaid }) => !isPaid)]
  const without = tasks.filter(({ error, isVideoLost }) => error !== null || isVideoLost)
  const cancelled = tasks.filter(({ error }) => error === 'canceled').length
  const judged = without.filter(({ error, isVideoLost }) => isVideoLost || verdicts.includes(error)).length
  const foreign = predictions.filter(({ isForeign }) => isForeign)
  const foreignReasons = foreign.filter(({ id, isPaid }) => !isPaid && !given.has(id))
  const foreignTaken = {
    withVideo: foreign.filter(({ id, hasWebhook }) => !hasWebhook && given.has(id)).length,
    // A task may have failed as such a prediction did.
    withoutVideo: Math.min(judged, foreignReasons.filter(({ hasWebhook }) => !hasWebhook).length)
  }
  // What excuses less is used first.
  const paidForForeign = Math.min(countAlike(paid), foreignTaken.withVideo)
  const paidForFailed = Math.min(countAlike(paid) - paidForForeign, foreignTaken.withoutVideo)
  const paidForCancelled = Math.min(paid.length - paidForForeign - paidForFailed, cancelled)
  const excusedPaid = paidForForeign + paidForFailed + paidForCancelled
  const freeForForeign = Math.min(countAlike(free), foreignTaken.withVideo - paidForForeign)
  const excusedFree = Math.min(free.length, without.length - paidForFailed - paidForCancelled + freeForForeign)
  return {
    key,
    tasks,
    predictions,
    unused: [...(excusedPaid < paid.length ? paid : []), ...(excusedFree < free.length ? free : [])],
    inVain: left.length - excusedPaid - excusedFree,
    failedForNothing: Math.max(0, judged - free.length - foreignReasons.length)
  }
}

/** How many of these may have been taken for those of another client. */
function countAlike (predictions: PaidPrediction[]): number {
  return predictions.filter(({ hasWebhook }) => !hasWebhook).length
}
