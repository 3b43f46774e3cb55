import { Type, type Static } from '@sinclair/typebox'
import { styles, type Style } from './styles.ts'
import { taskFailureCodes, taskFailureSentences, type TaskFailureCode } from './task-failure.ts'
import { expiryOf, isOpen, maxDreamLength, statusOf, taskStatuses, type Task, type TaskStatus } from './task.ts'

const nullableString = (description: string, format = {}) => Type.Unsafe<string | null>({ type: ['string', 'null'], ...format, description })
const time = (description: string) => Type.String({
  format: 'date-time',
  description: `${description}, RFC 3339 in UTC with exactly three fractional digits`
})

export const StyleSchema = Type.Unsafe<Style>({
  type: 'string', enum: styles, $id: 'Style', description: 'The look of the video'
})

export const TaskStatusSchema = Type.Unsafe<TaskStatus>({
  type: 'string',
  enum: taskStatuses,
  $id: 'TaskStatus',
  description: '`pending` until the provider has taken the task, then `processing`; `completed` and `failed` are final'
})

export const TaskFailureCodeSchema = Type.Unsafe<TaskFailureCode>({
  type: 'string', enum: taskFailureCodes, $id: 'ErrorCode', description: 'Why a task failed, stable, for programs'
})

/** The task as clients see it: these members, in this order, all always present. */
export const TaskSchema = Type.Object({
  task_id: Type.String({ format: 'uuid', description: 'The task’s id, a UUIDv7' }),
  status: Type.Unsafe<TaskStatus>(Type.Ref('TaskStatus')),
  dream: Type.String({ minLength: 1, maxLength: maxDreamLength, description: 'The dream as it was received, trimmed' }),
  style: Type.Unsafe<Style>(Type.Ref('Style')),
  video_url: nullableString('The address of the finished video, else null. It is an address of this service and stays the same until the task is deleted or expires. The address itself is the right to see the video, so it needs no header. A task that an earlier release completed has an address of Replicate, which is no longer valid', { format: 'uri' }),
  error: nullableString('Why the task failed, a sentence for people, else null'),
  created_at: time('When the task was created'),
  updated_at: time('When anything here last changed'),
  // Not one enum that has null among its values: generators make code of that which does not compile.
  error_code: Type.Unsafe<TaskFailureCode | null>({
    anyOf: [Type.Ref('ErrorCode'), Type.Null()],
    description: 'Why the task failed, a stable code for programs, else null'
  }),
  progress: Type.Unsafe<number | null>({
    type: ['integer', 'null'],
    format: 'int32',
    minimum: 0,
    maximum: 100,
    description: 'Percent done where the provider tells it, never falling, else null'
  }),
  revision: Type.Integer({ format: 'int32', minimum: 1, description: 'Grows by one whenever anything here changes' }),
  poster_url: nullableString('The address of a picture from the finished video, else null. It can appear some seconds after the task has completed', { format: 'uri' }),
  expires_at: nullableString('When the task is deleted, with its video: RFC 3339 in UTC with exactly three fractional digits. Null while the task has not ended, or if tasks are kept for ever', { format: 'date-time' })
}, {
  $id: 'Task',
  description: 'A dream and what has become of its video so far',
  examples: [{
    task_id: '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21',
    status: 'completed',
    dream: 'A whale swims through the clouds above my school',
    style: 'Realistic',
    video_url: 'https://dreams.example.com/videos/dGhlIHdoYWxlIGluIHRoZQ.mp4',
    error: null,
    created_at: '2026-11-24T08:15:30.120Z',
    updated_at: '2026-11-24T08:16:11.402Z',
    error_code: null,
    progress: 100,
    revision: 4,
    poster_url: 'https://dreams.example.com/videos/Y2xvdWRzIGFib3ZlIHNjaA.jpg',
    expires_at: '2026-12-24T08:16:11.402Z'
  }]
})
export type TaskView = Static<typeof TaskSchema>

export interface ViewOptions {
  /** Scheme, host and port of the service as the client reaches it, and a path if it has one there; without a final slash. */
  origin: string
  /** ms from the end of a task to its deletion; null if tasks are kept for ever */
  retentionMs: number | null
}

/** The task as a client sees it. */
export function presentTask (task: Task, { origin, retentionMs }: ViewOptions): TaskView {
  return {
    task_id: task.id,
    status: statusOf(task),
    dream: task.dream,
    style: task.style,
    video_url: presentVideoUrl(task, origin),
    error: task.failure && taskFailureSentences[task.failure],
    created_at: new Date(task.createdAt).toISOString(),
    updated_at: new Date(task.updatedAt).toISOString(),
    error_code: task.failure,
    progress: task.progress,
    revision: task.revision,
    poster_url: task.posterName && fileUrl(origin, task.posterName),
    expires_at: retentionMs === null || isOpen(task) ? null : new Date(expiryOf(task, retentionMs)).toISOString()
  }
}

function presentVideoUrl (task: Task, origin: string): string | null {
  if (task.state !== 'completed') return null
  return task.videoName === null ? task.sourceUrl : fileUrl(origin, task.videoName)
}

function fileUrl (origin: string, name: string): string {
  return `${origin}/videos/${name}`
}
