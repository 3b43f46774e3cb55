import { randomBytes } from 'node:crypto'
import { distort, type PredictionDistortion } from './distortion.ts'
import { endingError, endingOutput, type Ending, type FinalStatus, type OutputAddresses } from './outcome.ts'
import { progressBars } from './progress-bar.ts'
import type { SkewedClock } from './skewed-clock.ts'
import type { WebhookEvent } from './webhook-event.ts'

export type Status = 'starting' | 'processing' | FinalStatus

/**
 * One prediction. All of its times are set when it is created, and its state at a time is computed from them, so that thousands
 * of predictions need no timers. A cancel or a call of the control interface moves the end to an earlier time, never a later one.
 */
export interface Prediction {
  readonly id: string
  readonly origin: string
  readonly model: string
  readonly version: string
  readonly input: Readonly<Record<string, unknown>>
  readonly webhook: string | undefined
  readonly webhookEvents: readonly WebhookEvent[] | undefined
  /** Created by another client of the account: its webhook is shown, but not called. */
  readonly isForeign: boolean
  /** Converts the times below, which are true times, to those that clients see. */
  readonly clock: SkewedClock
  /** As the clock read it; unique. */
  readonly createdMicros: number
  readonly createdAt: number
  readonly deadline: number | null
  readonly startsAt: number
  endsAt: number
  ending: Ending
  /** From the end until input, output, logs and file are gone. */
  keptMs: number
  distortion: PredictionDistortion | undefined
}

/** A prediction as the API shows it. Members without a value yet are absent, as at Replicate. */
export interface PredictionView {
  id: string
  model: string
  version: string
  input: Readonly<Record<string, unknown>>
  logs: string
  output: unknown
  data_removed: boolean
  error: string | null
  source: 'api'
  status: Status
  created_at: string
  started_at?: string
  completed_at?: string
  deadline?: string
  metrics?: { predict_time?: number, total_time: number }
  urls: { get: string, cancel: string, web: string }
  webhook?: string
  webhook_events_filter?: readonly WebhookEvent[]
}

const idAlphabet = '0123456789abcdefghjkmnpqrstvwxyz'

export function newPredictionId (): string {
  return Array.from(randomBytes(26), (byte) => idAlphabet[byte % 32]).join('')
}

export function statusAt (prediction: Prediction, at: number): Status {
  if (at >= prediction.endsAt) return prediction.ending.status
  return at >= prediction.startsAt ? 'processing' : 'starting'
}

/** Whether input, output, logs and file have been removed at that time. */
export function isWiped (prediction: Prediction, at: number): boolean {
  return at >= prediction.endsAt + prediction.keptMs
}

/** The prediction at a time, with addresses that begin with `origin`. */
export function showPrediction (prediction: Prediction, at: number, origin = prediction.origin): PredictionView {
  const view = trueView(prediction, at, origin)
  return prediction.distortion === undefined ? view : distort(view, prediction.distortion)
}

function trueView (prediction: Prediction, at: number, origin: string): PredictionView {
  const wiped = isWiped(prediction, at)
  const ended = at >= prediction.endsAt
  return {
    id: prediction.id,
    model: prediction.model,
    version: prediction.version,
    input: wiped ? {} : prediction.input,
    logs: wiped ? '' : logsAt(prediction, at),
    output: ended && !wiped ? endingOutput(prediction.ending, outputAddresses(prediction, origin)) : null,
    data_removed: wiped,
    error: ended ? endingError(prediction.ending) : null,
    source: 'api',
    status: statusAt(prediction, at),
    created_at: new Date(Math.floor(prediction.createdMicros / 1000)).toISOString().replace('Z', microDigits(prediction)),
    ...times(prediction, at),
    ...(prediction.deadline === null ? {} : { deadline: deadlineOf(prediction, prediction.deadline) }),
    urls: addresses(prediction, origin),
    ...(prediction.webhook === undefined ? {} : { webhook: prediction.webhook }),
    ...(prediction.webhookEvents === undefined ? {} : { webhook_events_filter: prediction.webhookEvents })
  }
}

/** The prediction at the time of its creation. */
export function showCreated (prediction: Prediction, origin = prediction.origin): PredictionView {
  return showPrediction(prediction, -Infinity, origin)
}

/** The prediction in the event `output`: with its output, and before its end. */
export function showOutput (prediction: Prediction): PredictionView {
  const { completed_at: completedAt, metrics, ...view } = showPrediction(prediction, prediction.endsAt)
  return { ...view, status: 'processing' }
}

function microDigits ({ createdMicros }: Prediction): string {
  return `${String(createdMicros % 1000).padStart(3, '0')}Z`
}

/** Computed from the clock at the creation: a later step of the clock does not change it. */
function deadlineOf ({ clock, createdAt }: Prediction, deadline: number): string {
  return new Date(clock.read(createdAt) + deadline - createdAt).toISOString()
}

function outputAddresses ({ id }: Prediction, origin: string): OutputAddresses {
  return {
    video: `${origin}/files/${id}/output.mp4`, thumbnail: `${origin}/files/${id}/thumbnail.jpg`, apiVideo: `${origin}/v1/files/${id}/output.mp4`
  }
}

function addresses ({ id }: Prediction, origin: string): PredictionView['urls'] {
  const get = `${origin}/v1/predictions/${id}`
  return { get, cancel: `${get}/cancel`, web: `${origin}/p/${id}` }
}

function times ({ clock, createdAt, startsAt, endsAt }: Prediction, at: number): Partial<PredictionView> {
  const began = startsAt < endsAt && at >= startsAt
  const started = began ? { started_at: new Date(clock.read(startsAt)).toISOString() } : {}
  if (at < endsAt) return started
  const predictTime = began ? { predict_time: (endsAt - startsAt) / 1000 } : {}
  return {
    ...started,
    completed_at: new Date(clock.read(endsAt)).toISOString(),
    metrics: { ...predictTime, total_time: (endsAt - createdAt) / 1000 }
  }
}

function logsAt ({ startsAt, endsAt, ending }: Prediction, at: number): string {
  if (at < startsAt || startsAt >= endsAt) return ''
  const spent = Math.min(at, endsAt) - startsAt
  const bars = ending.progress === true ? progressBars(spent / (endsAt - startsAt), spent) : ''
  return [ending.logs, bars].filter(Boolean).join('\n')
}
