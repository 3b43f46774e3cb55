import type { Style } from '../tasks/styles.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import type { SubmissionIntent, Task, TaskState } from '../tasks/task.ts'
import type { InFlightPrediction } from './task-store.ts'

/** A task as a table keeps it, in either database. Times are ms since the epoch. */
export interface TaskRow {
  id: string
  state: TaskState
  version: number
  revision: number
  dream: string
  style: Style
  created_at: number
  updated_at: number
  deadline_at: number
  /** JSON */
  submission: string | null
  waiting_for: TaskFailureCode | null
  prediction_id: string | null
  prediction_created_at: number | null
  progress: number | null
  video_url: string | null
  failure: TaskFailureCode | null
  callback_url: string | null
}

/** In the order of `taskToRow`. */
export const taskColumns = [
  'id', 'state', 'version', 'revision', 'dream', 'style', 'created_at', 'updated_at', 'deadline_at', 'submission',
  'waiting_for', 'prediction_id', 'prediction_created_at', 'progress', 'video_url', 'failure', 'callback_url'
] as const satisfies Array<keyof TaskRow>

export function taskToRow (task: Task): TaskRow {
  return {
    id: task.id,
    state: task.state,
    version: task.version,
    revision: task.revision,
    dream: task.dream,
    style: task.style,
    created_at: task.createdAt,
    updated_at: task.updatedAt,
    deadline_at: task.deadlineAt,
    submission: task.submission && JSON.stringify(task.submission),
    waiting_for: task.waitingFor,
    prediction_id: task.predictionId,
    prediction_created_at: task.predictionCreatedAt,
    progress: task.progress,
    video_url: task.videoUrl,
    failure: task.failure,
    callback_url: task.callbackUrl
  }
}

/** For a task that is generating. */
export function toInFlightPrediction ({ id, predictionId, predictionCreatedAt }: Task): InFlightPrediction {
  return { taskId: id, predictionId: predictionId ?? '', predictionCreatedAt }
}

const submissionDefaults = { webhook: null, providerStartedAt: null, isAmbiguous: false }

/** The boundary where a row becomes typed: only `taskToRow` makes the rows that are written. */
export function rowToTask (row: Record<keyof TaskRow, unknown>): Task {
  const { submission, ...known } = row as TaskRow
  return {
    id: known.id,
    state: known.state,
    version: known.version,
    revision: known.revision,
    dream: known.dream,
    style: known.style,
    createdAt: known.created_at,
    updatedAt: known.updated_at,
    deadlineAt: known.deadline_at,
    // Earlier versions wrote it without some of its members.
    submission: submission === null ? null : { ...submissionDefaults, ...JSON.parse(submission) as SubmissionIntent },
    waitingFor: known.waiting_for,
    predictionId: known.prediction_id,
    predictionCreatedAt: known.prediction_created_at,
    progress: known.progress,
    videoUrl: known.video_url,
    failure: known.failure,
    callbackUrl: known.callback_url
  }
}
