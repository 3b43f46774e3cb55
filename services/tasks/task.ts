import { v7 as uuidv7 } from 'uuid'
import type { Style } from './styles.ts'
import type { TaskFailureCode } from './task-failure.ts'

/** The four values that clients see. The shipped app stops polling at `completed` and `failed` only. */
export const taskStatuses = ['pending', 'processing', 'completed', 'failed'] as const
export type TaskStatus = typeof taskStatuses[number]

/** In characters, which are Unicode code points. */
export const maxDreamLength = 2_000

/**
 * The states of the state machine. A client sees `queued` and `submitting` as `pending`, `generating` and `storing` as
 * `processing`.
 */
export type TaskState = 'queued' | 'submitting' | 'generating' | 'storing' | 'completed' | 'failed'

/** Committed before a paid request is sent: what is asked of the provider, and since when. */
export interface SubmissionIntent {
  /** ms since the epoch */
  startedAt: number
  model: string
  input: Record<string, unknown>
  /** The address that the provider was asked to call; it names the task. Null without webhooks. */
  webhook: string | null
  /** `startedAt` by the provider's own clock, ms since the epoch; null where that was not known. */
  providerStartedAt: number | null
  /** Whether its sender ended without an answer: the provider may have made a prediction that no row names yet. */
  isAmbiguous: boolean
}

/** A file of the archive. The time is ms since the epoch. */
export interface StoredFile {
  /** such as `video/mp4` */
  contentType: string
  bytes: number
  storedAt: number
}

/** A video of the archive, as it was found to be. Width and height are in pixels, as the video is shown. */
export interface StoredVideo extends StoredFile {
  seconds: number
  width: number
  height: number
}

/** What is left to do for the video of a completed task: copy it to the archive, or make its poster. */
export type VideoWork = 'store' | 'poster'

/** The task of turning one dream into a video, as a store keeps it. Times are ms since the epoch. */
export interface Task {
  readonly id: string
  readonly state: TaskState
  /** +1 at every change: what a compare-and-set compares. */
  readonly version: number
  /** +1 at every change that a client can see. */
  readonly revision: number
  readonly dream: string
  readonly style: Style
  readonly createdAt: number
  readonly updatedAt: number
  /** From this time on the service ends the task, even if the provider still works on it. */
  readonly deadlineAt: number
  readonly submission: SubmissionIntent | null
  /** Why the provider last refused to take the task for the moment; the reason it fails with at its deadline. */
  readonly waitingFor: TaskFailureCode | null
  readonly predictionId: string | null
  /** By the provider's clock; null where it did not say. */
  readonly predictionCreatedAt: number | null
  readonly progress: number | null
  /** The provider's address of the video, which is valid for an hour. */
  readonly sourceUrl: string | null
  /** The provider's address of a picture of the video, if the model made one. */
  readonly posterSourceUrl: string | null
  /**
   * The name of the video in the archive, chosen before the first byte is stored. Null in a completed task means that an
   * earlier release completed it, with the provider's address as that of the video.
   */
  readonly videoName: string | null
  /** Null while the video is not stored. */
  readonly videoFile: StoredVideo | null
  /** Only in a completed task. Null there without a `videoFile` means that the video was lost. */
  readonly videoWork: VideoWork | null
  readonly posterName: string | null
  readonly posterFile: StoredFile | null
  readonly failure: TaskFailureCode | null
  /** The address that is called when the task has ended; null without one. */
  readonly callbackUrl: string | null
  /** Scheme, host and port by which the client reached the service; null in tasks of earlier releases. */
  readonly origin: string | null
  /** The name of the API key that made it; null if it was made without a key. */
  readonly keyName: string | null
  /** The span of the request that created the task, as W3C Trace Context writes it; null for a task that is not traced. */
  readonly traceparent: string | null
  /** Its place in the fair order in which tasks are submitted, which the store gives it; of equals, the older task goes first. */
  readonly startTag: number
}

/** Everything that can happen to a task. There is no other way to change its state. */
export type Transition =
  | { type: 'submit', submission: SubmissionIntent }
  | { type: 'mark_ambiguous' }
  | { type: 'requeue', waitingFor: TaskFailureCode | null }
  | { type: 'attach_prediction', predictionId: string, predictionCreatedAt: number | null }
  | { type: 'progress', progress: number }
  | { type: 'store', sourceUrl: string, posterSourceUrl: string | null, videoName: string }
  | { type: 'complete', videoFile: StoredVideo | null, videoWork: VideoWork | null }
  | { type: 'fail', failure: TaskFailureCode }
  | { type: 'record_video', videoFile: StoredVideo, videoWork: VideoWork | null }
  | { type: 'lose_video' }
  | { type: 'record_poster', poster: { name: string, file: StoredFile } | null }

/**
 * The states that each transition leads from, and the state that it leads to. None leads out of `completed` or `failed`: what
 * happens to a completed task is the `work` on its video that was left.
 */
export const transitions = {
  submit: { from: ['queued'], to: 'submitting' },
  mark_ambiguous: { from: ['submitting'], to: 'submitting' },
  requeue: { from: ['submitting'], to: 'queued' },
  // Also from `queued`: a webhook can name a prediction of a submission that was already considered lost.
  attach_prediction: { from: ['queued', 'submitting'], to: 'generating' },
  progress: { from: ['generating'], to: 'generating' },
  store: { from: ['generating'], to: 'storing' },
  complete: { from: ['storing'], to: 'completed' },
  fail: { from: ['queued', 'submitting', 'generating', 'storing'], to: 'failed' },
  record_video: { from: ['completed'], to: 'completed', work: 'store' },
  lose_video: { from: ['completed'], to: 'completed', work: 'store' },
  record_poster: { from: ['completed'], to: 'completed', work: 'poster' }
} as const satisfies Record<Transition['type'], TransitionRule>

interface TransitionRule { from: readonly TaskState[], to: TaskState, work?: VideoWork }

/** The names of all transitions. */
export const transitionTypes = Object.keys(transitions) as Array<Transition['type']>

export const openStates = ['queued', 'submitting', 'generating', 'storing'] as const satisfies readonly TaskState[]

export function isOpen (task: Task): boolean {
  return task.state !== 'completed' && task.state !== 'failed'
}

/** Whether the archive has a task's video. `pending`: it is to be stored. `lost`: the provider deleted it before it was stored. */
export type VideoState = 'none' | 'pending' | 'stored' | 'lost'

export function videoStateOf (task: Task): VideoState {
  if (task.videoName === null || task.state === 'failed') return 'none'
  if (task.videoFile !== null) return 'stored'
  return task.state === 'storing' || task.videoWork === 'store' ? 'pending' : 'lost'
}

/** What a new task may have besides its dream and its style. */
export interface NewTaskOptions { callbackUrl?: string | null, origin?: string | null, keyName?: string | null, traceparent?: string | null }

/**
 * A fresh task. `dream` is already trimmed and checked.
 * @param deadlineSeconds how long the task may take in all
 * @param now ms since the epoch
 */
export function newTask (dream: string, style: Style, deadlineSeconds: number, now: number, { callbackUrl = null, origin = null, keyName = null, traceparent = null }: NewTaskOptions = {}): Task {
  return {
    id: uuidv7(),
    state: 'queued',
    version: 1,
    revision: 1,
    dream,
    style,
    createdAt: now,
    updatedAt: now,
    deadlineAt: now + deadlineSeconds * 1000,
    submission: null,
    waitingFor: null,
    predictionId: null,
    predictionCreatedAt: null,
    progress: null,
    sourceUrl: null,
    posterSourceUrl: null,
    videoName: null,
    videoFile: null,
    videoWork: null,
    posterName: null,
    posterFile: null,
    failure: null,
    callbackUrl,
    origin,
    keyName,
    traceparent,
    startTag: 0
  }
}

/**
 * Pure: the stores compute with it what they then write by a compare-and-set.
 * @returns the task after the transition, or undefined if the table does not allow it from the task's state
 * @param now ms since the epoch; `updatedAt` never goes back, even if the clock does
 */
export function applyTransition (task: Task, transition: Transition, now: number): Task | undefined {
  const { from, to, work }: TransitionRule = transitions[transition.type]
  if (!from.includes(task.state) || (work !== undefined && work !== task.videoWork)) return undefined
  const after = { ...task, state: to, version: task.version + 1, ...changedMembers(transition, task) }
  if (!isVisibleChange(task, after)) return after
  return { ...after, revision: task.revision + 1, updatedAt: Math.max(task.updatedAt, now) }
}

function changedMembers (transition: Transition, task: Task): Partial<Task> {
  switch (transition.type) {
    case 'submit': return { submission: transition.submission }
    case 'mark_ambiguous': return { submission: task.submission && { ...task.submission, isAmbiguous: true } }
    case 'requeue': return { submission: null, waitingFor: transition.waitingFor }
    case 'attach_prediction': return { predictionId: transition.predictionId, predictionCreatedAt: transition.predictionCreatedAt, waitingFor: null }
    case 'progress': return { progress: Math.max(transition.progress, task.progress ?? 0) }
    case 'store': return { sourceUrl: transition.sourceUrl, posterSourceUrl: transition.posterSourceUrl, videoName: transition.videoName }
    case 'complete': return { videoFile: transition.videoFile, videoWork: transition.videoWork, progress: task.progress === null ? null : 100 }
    case 'fail': return { failure: transition.failure }
    case 'record_video': return { videoFile: transition.videoFile, videoWork: transition.videoWork }
    case 'lose_video': return { videoWork: null }
    case 'record_poster': return { posterName: transition.poster?.name ?? null, posterFile: transition.poster?.file ?? null, videoWork: null }
  }
}

function isVisibleChange (before: Task, after: Task): boolean {
  return statusOf(before) !== statusOf(after) || before.progress !== after.progress || before.posterName !== after.posterName
}

/** The messages to a callback address take 18 hours if none is accepted. They need the task, so it is kept for a day at least. */
const minCallbackRetentionMs = 24 * 60 * 60 * 1000

/**
 * How long an ended task is kept after its last change, in ms.
 * @param retentionMs for a task without a callback address
 */
export function retentionOf ({ callbackUrl }: Pick<Task, 'callbackUrl'>, retentionMs: number): number {
  return callbackUrl === null ? retentionMs : Math.max(retentionMs, minCallbackRetentionMs)
}

/**
 * When an ended task is removed, in ms since the epoch. It is kept until its deadline in any case: until then, a prediction can be
 * found that belongs to it.
 */
export function expiryOf (task: Task, retentionMs: number): number {
  return Math.max(task.deadlineAt, task.updatedAt + retentionOf(task, retentionMs))
}

export function statusOf (task: Task): TaskStatus {
  switch (task.state) {
    case 'queued': case 'submitting': return 'pending'
    case 'generating': case 'storing': return 'processing'
    default: return task.state
  }
}
