import { channel } from 'node:diagnostics_channel'
import type { Task, Transition } from '../tasks/task.ts'

/** A channel of `node:diagnostics_channel` with messages of one type. */
export interface Channel<Message> {
  /** Whether a message has a reader. A publisher asks first and builds no message without one, so that it costs nothing. */
  readonly hasSubscribers: boolean
  publish (message: Message): void
  /** A listener must not throw: Node treats the error as one that no code has caught. */
  subscribe (listener: (message: Message) => void): void
  unsubscribe (listener: (message: Message) => void): void
}

/** The calls to Replicate's API. */
export const replicateCalls = ['create', 'get', 'list', 'cancel', 'account', 'webhook_secret'] as const
export type ReplicateCall = typeof replicateCalls[number]

/**
 * `ok`: 2xx. `rate_limited`: 429. `refused`: any other status below 500. `no_answer`: no complete response in time.
 * `withdrawn`: nothing was sent.
 */
export const callOutcomes = ['ok', 'rate_limited', 'refused', 'server_error', 'no_answer', 'withdrawn'] as const
export type CallOutcome = typeof callOutcomes[number]

/** `complete`: every prediction was found or known to be missing. `incomplete`: a page could not be read. */
export const sweepOutcomes = ['complete', 'incomplete', 'failed'] as const
export type SweepOutcome = typeof sweepOutcomes[number]

/** `gone`: the receiver answered 410. `retried`: there is another attempt. `exhausted`: this was the last one. */
export const callbackOutcomes = ['delivered', 'gone', 'retried', 'exhausted'] as const
export type CallbackAttemptOutcome = typeof callbackOutcomes[number]

/**
 * `stored`: copied. `present`: an earlier attempt had stored it. `gone`, `no_video`, `too_large`: refused for good. `unavailable`: the
 * provider or the archive cannot do its part now. `interrupted`: the deadline, a cancel or the stop of the instance.
 */
export const copyOutcomes = ['stored', 'present', 'gone', 'no_video', 'too_large', 'unavailable', 'interrupted'] as const
export type CopyOutcomeName = typeof copyOutcomes[number]

/** `expired`: tasks past their retention. `orphans`: files of the archive that no task names. */
export const retentionWorks = ['expired', 'orphans'] as const
export type RetentionWork = typeof retentionWorks[number]

export const removedKinds = ['expired_task', 'orphan_file', 'unfinished_write'] as const
export type RemovedKind = typeof removedKinds[number]

export interface RequestEnded {
  method: string
  /** the pattern of the route, such as `/video-status/:task_id`; null where no route was found */
  route: string | null
  /** null where the connection ended before the headers of a response were sent */
  status: number | null
  ms: number
}

/** Measured from the moment at which the limiter let the call pass; null where nothing was sent. */
export interface ReplicateCallEnded { call: ReplicateCall, outcome: CallOutcome, ms: number | null }

export interface TaskTransitioned { transition: Transition['type'], from: Task, to: Task }

export interface PredictionEnded {
  task: Task
  outcome: 'succeeded' | 'failed'
  /** for which Replicate ran the model; null where it did not say */
  predictSeconds: number | null
}

/** The boundary where a channel becomes typed: only the constants below publish on channels with this prefix. */
function open<Message> (name: string): Channel<Message> {
  return channel(`dreamreel:${name}`) as Channel<Message>
}

/** A request to this service has been answered, refused or aborted. */
export const requestEnded = open<RequestEnded>('request-ended')
/** A new task has been committed. */
export const taskCreated = open<{ task: Task }>('task-created')
/** This instance has changed a task, and the change is committed. */
export const taskTransitioned = open<TaskTransitioned>('task-transitioned')
/** The prediction of a task has ended at Replicate. */
export const predictionEnded = open<PredictionEnded>('prediction-ended')
export const replicateCallEnded = open<ReplicateCallEnded>('replicate-call-ended')
/** Replicate has answered with a status of success and a body that the service cannot use. */
export const replicateAnswerUnusable = open<{ call: ReplicateCall }>('replicate-answer-unusable')
/** This instance has swept over Replicate's list. */
export const predictionsSwept = open<{ outcome: SweepOutcome, ms: number }>('predictions-swept')
export const callbackAttempted = open<{ outcome: CallbackAttemptOutcome, ms: number }>('callback-attempted')
/** One attempt to copy a video has ended. The bytes are those that it stored. */
export const videoCopied = open<{ outcome: CopyOutcomeName, bytes: number, ms: number }>('video-copied')
export const retentionRan = open<{ work: RetentionWork, outcome: 'done' | 'failed' }>('retention-ran')
export const thingsRemoved = open<{ kind: RemovedKind, count: number }>('things-removed')
