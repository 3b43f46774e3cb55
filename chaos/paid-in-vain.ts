import type { Emulator } from '../replicate-emulator/emulator.ts'
import { endingOutput } from '../replicate-emulator/outcome.ts'
import type { Prediction } from '../replicate-emulator/prediction.ts'
import type { TaskView } from '../services/tasks/task-view.ts'
import { keyIn } from './observations.ts'

/** A prediction as the accounts see it. */
export interface Made {
  id: string
  /** of the dream */
  key: string
  /** by another client of the account: the service has not paid for it */
  isForeign: boolean
  /** It began and gives a video, or was cancelled after it began: someone should want it, or have cancelled a task. */
  isPaid: boolean
}

/** Of a prediction whose prompt has no key. */
const noKey = 'a dream without a key'

/** @param cancelled  ids of the predictions that were ended by a call */
export function madeBy ({ log }: Emulator, cancelled: ReadonlySet<string>): Made[] {
  return log.all.map((prediction) => ({
    id: prediction.id,
    key: keyIn(prediction.input.prompt) ?? noKey,
    isForeign: prediction.isForeign,
    isPaid: prediction.startsAt < prediction.endsAt && (cancelled.has(prediction.id) || hasVideo(prediction))
  }))
}

/** Whether its output is an address of its video, now or when it will have ended. */
function hasVideo ({ id, ending }: Prediction): boolean {
  return ending.status === 'succeeded' && JSON.stringify(endingOutput(ending, id))?.includes(id)
}

/** The account of all tasks and predictions of one dream. */
export interface Account {
  key: string
  /** Predictions of which one was paid for and not used, and how many of them. */
  unused: Made[]
  inVain: number
  /** Tasks that failed by a verdict, beyond the predictions that ended so. */
  failedForNothing: number
}

/** What the verdict of its own prediction can be. */
const verdicts: unknown[] = ['content_policy', 'provider_error', 'no_output']

/**
 * A video that no task was given, and a prediction that was cancelled, are in vain, unless a client has cancelled a task
 * of the dream: each cancelled one may leave one behind. One that ended without a video is in vain where no failed task is
 * left that may have had it.
 *
 * @param tasks  every task of the service, also those that no client knows of
 */
export function balance (tasks: TaskView[], made: Made[]): Account[] {
  const tasksByKey = Map.groupBy(tasks, ({ dream }) => keyIn(dream) ?? noKey)
  return [...Map.groupBy(made, ({ key }) => key)].map(([key, ofDream]) => balanceOf(key, tasksByKey.get(key) ?? [], ofDream))
}

function balanceOf (key: string, tasks: TaskView[], made: Made[]): Account {
  const given = new Set(tasks.map(videoOf))
  const left = made.filter(({ id, isForeign }) => !isForeign && !given.has(id))
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

/** The prediction whose file at the emulator a task was given. */
export function videoOf ({ video_url: url }: Pick<TaskView, 'video_url'>): string | undefined {
  return /\/files\/(\w+)\//.exec(url ?? '')?.[1]
}
