import type { Emulator } from '../replicate-emulator/emulator.ts'
import { endingOutput } from '../replicate-emulator/outcome.ts'
import type { Prediction } from '../replicate-emulator/prediction.ts'
import type { TaskView } from '../services/tasks/task-view.ts'
import { findKey } from './observations.ts'

/** What the accounts need to know of a prediction. */
export interface PaidPrediction {
  id: string
  /** of the dream */
  key: string
  /** by another client of the account: the service has not paid for it */
  isForeign: boolean
  /** It has a video, or was cancelled after it began: either a task has to use it, or a client has cancelled a task. */
  isPaid: boolean
}

/** The key of predictions whose prompt has none. */
const noKey = 'a dream without a key'

/** @param cancelled  the ids of the predictions that a call has ended */
export function describePredictions ({ log }: Emulator, cancelled: ReadonlySet<string>): PaidPrediction[] {
  return log.all.map((prediction) => ({
    id: prediction.id,
    key: findKey(prediction.input.prompt) ?? noKey,
    isForeign: prediction.isForeign,
    isPaid: prediction.startsAt < prediction.endsAt && (cancelled.has(prediction.id) || hasVideo(prediction))
  }))
}

/** Whether its output is the address of its video, now or at its end. */
function hasVideo ({ id, ending }: Prediction): boolean {
  return ending.status === 'succeeded' && JSON.stringify(endingOutput(ending, { video: id, apiVideo: id, thumbnail: '' }))?.includes(id)
}

/** The account of all tasks and predictions of one dream. */
export interface Account {
  key: string
  /** The predictions that no task used, and how many of them were paid in vain. */
  unused: PaidPrediction[]
  inVain: number
  /** How many more tasks failed with a verdict than predictions gave one. */
  failedForNothing: number
}

/** The error codes that the prediction of a task can give. */
const verdicts: unknown[] = ['content_policy', 'provider_error', 'no_output']

/**
 * Compares the tasks and the predictions of each dream. A video that no task was given, and a prediction that was cancelled,
 * are paid in vain, unless a client has cancelled a task of the dream: each cancelled task excuses one prediction. A
 * prediction that ended without a video is in vain if no failed task is left that may have had it.
 *
 * @param tasks  every task of the service, also those that no client knows
 */
export function reconcile (tasks: TaskView[], predictions: PaidPrediction[]): Account[] {
  const tasksByKey = Map.groupBy(tasks, ({ dream }) => findKey(dream) ?? noKey)
  return [...Map.groupBy(predictions, ({ key }) => key)].map(([key, ofDream]) => reconcileDream(key, tasksByKey.get(key) ?? [], ofDream))
}

function reconcileDream (key: string, tasks: TaskView[], predictions: PaidPrediction[]): Account {
  const given = new Set(tasks.map(videoPrediction))
  const left = predictions.filter(({ id, isForeign }) => !isForeign && !given.has(id))
  const [paid, free] = [left.filter(({ isPaid }) => isPaid), left.filter(({ isPaid }) => !isPaid)]
  const failed = tasks.filter(({ status }) => status === 'failed')
  const cancelled = failed.filter(isCancelled).length
  const excusedPaid = Math.min(paid.length, cancelled)
  const excusedFree = Math.min(free.length, failed.length - excusedPaid)
  return {
    key,
    unused: [...(excusedPaid < paid.length ? paid : []), ...(excusedFree < free.length ? free : [])],
    inVain: left.length - excusedPaid - excusedFree,
    failedForNothing: Math.max(0, failed.filter(({ error_code: code }) => verdicts.includes(code)).length - free.length)
  }
}

function isCancelled ({ error_code: code }: TaskView): boolean {
  return code === 'canceled'
}

/** The id of the prediction whose file at the emulator a task was given. */
export function videoPrediction ({ video_url: url }: Pick<TaskView, 'video_url'>): string | undefined {
  return /\/files\/(\w+)\//.exec(url ?? '')?.[1]
}
