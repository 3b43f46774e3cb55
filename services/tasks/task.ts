import { v7 as uuidv7 } from 'uuid'
import type { Style } from './styles.ts'
import type { TaskFailureCode } from './task-failure.ts'

/** The four values that clients see. The shipped app stops polling at `completed` and `failed` only. */
export const taskStatuses = ['pending', 'processing', 'completed', 'failed'] as const
export type TaskStatus = typeof taskStatuses[number]

/** In characters, which are Unicode code points. */
export const maxDreamLength = 2_000

/** The states of the state machine. A client sees `queued` and `submitting` as `pending`, `generating` as `processing`. */
export type TaskState = 'queued' | 'submitting' | 'generating' | 'completed' | 'failed'

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
  readonly videoUrl: string | null
  readonly failure: TaskFailureCode | null
  /** The address that is called when the task has ended; null without one. */
  readonly callbackUrl: string | null
}

/** Everything that can happen to a task. There is no other way to change its state. */
export type Transition =
  | { type: 'submit', submission: SubmissionIntent }
  | { type: 'mark_ambiguous' }
  | { type: 'requeue', waitingFor: TaskFailureCode | null }
  | { type: 'attach_prediction', predictionId: string, predictionCreatedAt: number | null }
  | { type: 'progress', progress: number }
  | { type: 'complete', videoUrl: string }
  | { type: 'fail', failure: TaskFailureCode }

/** The states that each transition leads from, and the state that it leads to. None leads from `completed` or `failed`. */
export const transitions = {
  submit: { from: ['queued'], to: 'submitting' },
  mark_ambiguous: { from: ['submitting'], to: 'submitting' },
  requeue: { from: ['submitting'], to: 'queued' },
  // Also from `queued`: a webhook can name a prediction of a submission that was already considered lost.
  attach_prediction: { from: ['queued', 'submitting'], to: 'generating' },
  progress: { from: ['generating'], to: 'generating' },
  complete: { from: ['generating'], to: 'completed' },
  fail: { from: ['queued', 'submitting', 'generating'], to: 'failed' }
} as const satisfies Record<Transition['type'], { from: readonly TaskState[], to: TaskState }>

export const openStates = ['queued', 'submitting', 'generating'] as const satisfies readonly TaskState[]

export function isOpen (task: Task): boolean {
  return task.state !== 'completed' && task.state !== 'failed'
}

/**
 * A fresh task. `dream` is already trimmed and checked.
 * @param deadlineSeconds how long the task may take in all
 * @param now ms since the epoch
 */
export function newTask (dream: string, style: Style, deadlineSeconds: number, now: number, callbackUrl: string | null = null): Task {
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
    videoUrl: null,
    failure: null,
    callbackUrl
  }
}

/**
 * Pure: the stores compute with it what they then write by a compare-and-set.
 * @returns the task after the transition, or undefined if the table does not allow it from the task's state
 * @param now ms since the epoch; `updatedAt` never goes back, even if the clock does
 */
export function applyTransition (task: Task, transition: Transition, now: number): Task | undefined {
  const { from, to } = transitions[transition.type]
  if (!(from as readonly TaskState[]).includes(task.state)) return undefined
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
    case 'complete': return { videoUrl: transition.videoUrl, progress: task.progress === null ? null : 100 }
    case 'fail': return { failure: transition.failure }
  }
}

function isVisibleChange (before: Task, after: Task): boolean {
  return statusOf(before) !== statusOf(after) || before.progress !== after.progress
}

export function statusOf (task: Task): TaskStatus {
  switch (task.state) {
    case 'queued': case 'submitting': return 'pending'
    case 'generating': return 'processing'
    default: return task.state
  }
}
