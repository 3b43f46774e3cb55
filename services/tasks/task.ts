import { v7 as uuidv7 } from 'uuid'
import type { Style } from './styles.ts'
import type { TaskFailureCode } from './task-failure.ts'

/** The four words a client ever sees; the shipped app stops on `completed` and `failed` only. */
export const taskStatuses = ['pending', 'processing', 'completed', 'failed'] as const
export type TaskStatus = typeof taskStatuses[number]

/** In characters, which are Unicode code points. */
export const longestDream = 2_000

/** Where a task stands. A client sees `queued` and `submitting` as `pending`, `generating` as `processing`. */
export type TaskStage = 'queued' | 'submitting' | 'generating' | 'completed' | 'failed'

/** The mark that is on disk before a paid request leaves: what was asked of the provider, and since when. */
export interface Submission {
  /** ms since the epoch */
  startedAt: number
  model: string
  input: Record<string, unknown>
  /** The address that the provider was asked to call; it names the task. Null without webhooks. */
  webhook: string | null
  /** `startedAt` by the provider's own clock, ms since the epoch; null where that was not known. */
  providerStartedAt: number | null
  /** Whether its sender has ended without an answer: the provider may have made a prediction that no row names yet. */
  isAmbiguous: boolean
}

/** One dream on its way to a video, as a store keeps it. Times are ms since the epoch. */
export interface Task {
  readonly id: string
  readonly stage: TaskStage
  /** +1 at every change: what a compare-and-set compares. */
  readonly version: number
  /** +1 at every change that a client can see. */
  readonly revision: number
  readonly dream: string
  readonly style: Style
  readonly createdAt: number
  readonly updatedAt: number
  /** From here on the task is ended by the service, whatever the provider does. */
  readonly deadlineAt: number
  readonly submission: Submission | null
  /** Why the provider last refused to take the task for the moment; the reason it fails with at its deadline. */
  readonly waitingFor: TaskFailureCode | null
  readonly predictionId: string | null
  /** By the provider's clock; null where it did not say. */
  readonly predictionCreatedAt: number | null
  readonly progress: number | null
  readonly videoUrl: string | null
  readonly failure: TaskFailureCode | null
  /** Who is told of the end, an address; nobody where it is null. */
  readonly callbackUrl: string | null
}

/** What can happen to a task. There is no "set stage": these moves are all there is. */
export type Move =
  | { type: 'submit', submission: Submission }
  | { type: 'mark_ambiguous' }
  | { type: 'withdraw', waitingFor: TaskFailureCode | null }
  | { type: 'bind', predictionId: string, predictionCreatedAt: number | null }
  | { type: 'advance', progress: number }
  | { type: 'complete', videoUrl: string }
  | { type: 'fail', failure: TaskFailureCode }

/** The table of allowed moves: from which stages, to which stage. `completed` and `failed` are nobody's origin. */
export const allowedMoves = {
  submit: { from: ['queued'], to: 'submitting' },
  mark_ambiguous: { from: ['submitting'], to: 'submitting' },
  withdraw: { from: ['submitting'], to: 'queued' },
  // From `queued` too: a webhook can name a prediction of which nobody believed any more that it exists.
  bind: { from: ['queued', 'submitting'], to: 'generating' },
  advance: { from: ['generating'], to: 'generating' },
  complete: { from: ['generating'], to: 'completed' },
  fail: { from: ['queued', 'submitting', 'generating'], to: 'failed' }
} as const satisfies Record<Move['type'], { from: readonly TaskStage[], to: TaskStage }>

export const openStages = ['queued', 'submitting', 'generating'] as const satisfies readonly TaskStage[]

export function isOpen (task: Task): boolean {
  return task.stage !== 'completed' && task.stage !== 'failed'
}

/**
 * A fresh task. `dream` is already trimmed and checked.
 * @param deadlineSeconds how long the task may take in all
 * @param now ms since the epoch
 */
export function newTask (dream: string, style: Style, deadlineSeconds: number, now: number, callbackUrl: string | null = null): Task {
  return {
    id: uuidv7(),
    stage: 'queued',
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
 * The task after a move, or undefined where the table does not allow it from the task's stage.
 * Pure: the stores decide with it, inside their transaction.
 * @param now ms since the epoch; a clock that went back never moves `updatedAt` back
 */
export function moveTask (task: Task, move: Move, now: number): Task | undefined {
  const { from, to } = allowedMoves[move.type]
  if (!(from as readonly TaskStage[]).includes(task.stage)) return undefined
  const moved = { ...task, stage: to, version: task.version + 1, ...changeOf(move, task) }
  if (!isVisible(task, moved)) return moved
  return { ...moved, revision: task.revision + 1, updatedAt: Math.max(task.updatedAt, now) }
}

function changeOf (move: Move, task: Task): Partial<Task> {
  switch (move.type) {
    case 'submit': return { submission: move.submission }
    case 'mark_ambiguous': return { submission: task.submission && { ...task.submission, isAmbiguous: true } }
    case 'withdraw': return { submission: null, waitingFor: move.waitingFor }
    case 'bind': return { predictionId: move.predictionId, predictionCreatedAt: move.predictionCreatedAt, waitingFor: null }
    case 'advance': return { progress: Math.max(move.progress, task.progress ?? 0) }
    case 'complete': return { videoUrl: move.videoUrl, progress: task.progress === null ? null : 100 }
    case 'fail': return { failure: move.failure }
  }
}

function isVisible (before: Task, after: Task): boolean {
  return statusOf(before) !== statusOf(after) || before.progress !== after.progress
}

export function statusOf (task: Task): TaskStatus {
  switch (task.stage) {
    case 'queued': case 'submitting': return 'pending'
    case 'generating': return 'processing'
    default: return task.stage
  }
}
