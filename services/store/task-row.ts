import type { Style } from '../tasks/styles.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import type { StoredFile, StoredVideo, SubmissionIntent, Task, TaskState, VideoWork } from '../tasks/task.ts'
import type { InFlightPrediction, OpenTasks, TaskCount } from './task-store.ts'

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
  /** the provider's address */
  video_url: string | null
  poster_source_url: string | null
  video_name: string | null
  /** JSON */
  video_file: string | null
  video_work: VideoWork | null
  poster_name: string | null
  /** JSON */
  poster_file: string | null
  failure: TaskFailureCode | null
  callback_url: string | null
  origin: string | null
  key_name: string | null
  traceparent: string | null
  start_tag: number
}

/** In the order of `taskToRow`. */
export const taskColumns = [
  'id', 'state', 'version', 'revision', 'dream', 'style', 'created_at', 'updated_at', 'deadline_at', 'submission',
  'waiting_for', 'prediction_id', 'prediction_created_at', 'progress', 'video_url', 'failure', 'callback_url',
  'poster_source_url', 'video_name', 'video_file', 'video_work', 'poster_name', 'poster_file', 'origin', 'key_name', 'traceparent', 'start_tag'
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
    video_url: task.sourceUrl,
    poster_source_url: task.posterSourceUrl,
    video_name: task.videoName,
    video_file: task.videoFile && JSON.stringify(task.videoFile),
    video_work: task.videoWork,
    poster_name: task.posterName,
    poster_file: task.posterFile && JSON.stringify(task.posterFile),
    failure: task.failure,
    callback_url: task.callbackUrl,
    origin: task.origin,
    key_name: task.keyName,
    traceparent: task.traceparent,
    start_tag: task.startTag
  }
}

/** The boundary where a row of `openSummary` becomes typed. The driver of PostgreSQL returns its numbers as text. */
export function rowToOpenTasks (row: Record<string, unknown>): OpenTasks {
  return { state: row.state as TaskState, style: row.style as Style, tasks: Number(row.tasks), oldestCreatedAt: Number(row.oldest_created_at) }
}

/** The boundary where a row of `activityCount` becomes typed. */
export function rowToTaskCount (row: Record<string, unknown>): TaskCount {
  return {
    state: row.state as TaskState,
    createdMinute: Number(row.created_minute),
    endedMinute: row.ended_minute === null ? null : Number(row.ended_minute),
    tasks: Number(row.tasks),
    oldestCreatedAt: Number(row.oldest_created_at)
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
    sourceUrl: known.video_url,
    posterSourceUrl: known.poster_source_url,
    videoName: known.video_name,
    videoFile: known.video_file === null ? null : JSON.parse(known.video_file) as StoredVideo,
    videoWork: known.video_work,
    posterName: known.poster_name,
    posterFile: known.poster_file === null ? null : JSON.parse(known.poster_file) as StoredFile,
    failure: known.failure,
    callbackUrl: known.callback_url,
    origin: known.origin,
    keyName: known.key_name,
    traceparent: known.traceparent,
    startTag: known.start_tag
  }
}
