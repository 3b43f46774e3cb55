import type { Emulator } from '../replicate-emulator/emulator.ts'
import { endingOutput } from '../replicate-emulator/outcome.ts'
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
  /** What its output is: an address with a video, an address with something else, or nothing of use. */
  output: 'video' | 'no video' | 'nothing'
  /** its data and files are removed */
  isWiped: boolean
  /** It has a video that is kept, or was cancelled after it began: either a task has to use it, or a client has cancelled a task. */
  isPaid: boolean
}

/** The predictions as they are now. @param cancelled  the ids of the predictions that a call has ended */
export function describePredictions ({ log, now }: Emulator, cancelled: ReadonlySet<string>): PaidPrediction[] {
  return log.all.map((prediction) => {
    const described = {
      id: prediction.id,
      key: dreamKey(prediction.input.prompt),
      isForeign: prediction.isForeign,
      output: outputOf(prediction),
      isWiped: isWiped(prediction, now())
    }
    const isOfUse = cancelled.has(prediction.id) || (described.output === 'video' && !described.isWiped)
    return { ...described, isPaid: prediction.startsAt < prediction.endsAt && isOfUse }
  })
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
  /** The predictions that no task used, and how many of them were paid in vain. */
  unused: PaidPrediction[]
  inVain: number
  /** How many more tasks failed with a verdict, or have lost their video, than predictions gave a reason for. */
  failedForNothing: number
}

/** The error codes that the prediction of a task can give. */
const verdicts: unknown[] = ['content_policy', 'provider_error', 'no_output', 'storage_failed']

/**
 * Compares the tasks and the predictions of each dream. A video that no task was given, and a prediction that was cancelled,
 * are paid in vain, unless a client has cancelled a task of the dream: each cancelled task excuses one prediction. A
 * prediction that ended without a video, or that was wiped, is in vain if no task is left that failed or lost its video, so that it
 * may have had this prediction.
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
  const excusedPaid = Math.min(paid.length, cancelled)
  const excusedFree = Math.min(free.length, without.length - excusedPaid)
  const judged = without.filter(({ error, isVideoLost }) => isVideoLost || verdicts.includes(error)).length
  const foreignReasons = predictions.filter(({ id, isForeign, isPaid }) => isForeign && !isPaid && !given.has(id)).length
  return {
    key,
    unused: [...(excusedPaid < paid.length ? paid : []), ...(excusedFree < free.length ? free : [])],
    inVain: left.length - excusedPaid - excusedFree,
    failedForNothing: Math.max(0, judged - free.length - foreignReasons)
  }
}
