import { Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'

/**
 * A prediction of Replicate, validated. `status` can be a word that is not known yet, and `output` has any shape: their
 * readers decide what they mean.
 */
export interface Prediction {
  id: string
  status: string
  /** owner/name */
  model: string | null
  version: string | null
  input: Record<string, unknown> | null
  output: unknown
  logs: string
  error: string | null
  /** `api` or `web` */
  source: string | null
  /** Replicate removes input, output, logs and files an hour after the end. */
  dataRemoved: boolean
  /** ms since the epoch */
  createdAt: number | null
  /** The webhook address that the create named. */
  webhook: string | null
  /** for which the model ran; null before the end, and where Replicate does not say */
  predictSeconds: number | null
}

const idPattern = '^[A-Za-z0-9_-]{1,128}$'
const maxErrorLength = 2_000
/** A day, which is longer than any deadline. */
const maxPredictSeconds = 86_400
const minTime = Date.parse('2000-01-01T00:00:00Z')
const maxTime = Date.parse('2200-01-01T00:00:00Z')
const endStatuses = new Set(['succeeded', 'failed', 'canceled', 'aborted'])

/** Only the indispensable members are required: Replicate adds members, and leaves out those without a value. */
const PredictionSchema = Type.Object({
  id: Type.String({ pattern: idPattern }),
  status: Type.String(),
  model: Type.Optional(Type.Unknown()),
  version: Type.Optional(Type.Unknown()),
  input: Type.Optional(Type.Unknown()),
  output: Type.Optional(Type.Unknown()),
  logs: Type.Optional(Type.Unknown()),
  error: Type.Optional(Type.Unknown()),
  source: Type.Optional(Type.Unknown()),
  data_removed: Type.Optional(Type.Unknown()),
  created_at: Type.Optional(Type.Unknown()),
  webhook: Type.Optional(Type.Unknown()),
  metrics: Type.Optional(Type.Unknown())
})
const compiled = TypeCompiler.Compile(PredictionSchema)
const idExpression = new RegExp(idPattern)

/** An unknown status is not final. */
export function isEnded ({ status }: Prediction): boolean {
  return endStatuses.has(status)
}

/** Whether this can be the id of a prediction; it is safe in a path then. */
export function isPredictionId (id: string): boolean {
  return idExpression.test(id)
}

/**
 * @param value parsed JSON: an answer, an item of a list, the body of a webhook
 * @returns undefined where it is no prediction; a member of another type than documented counts as missing
 */
export function parsePrediction (value: unknown): Prediction | undefined {
  if (!compiled.Check(value)) return undefined
  return {
    id: value.id,
    status: value.status,
    model: parseString(value.model),
    version: parseString(value.version),
    // A removed input is an empty object, which must not be compared.
    input: value.data_removed === true ? null : parseRecord(value.input),
    output: value.output ?? null,
    logs: parseString(value.logs) ?? '',
    error: parseError(value.error),
    source: parseString(value.source),
    dataRemoved: value.data_removed === true,
    createdAt: parseTime(value.created_at),
    webhook: parseString(value.webhook),
    predictSeconds: parsePredictSeconds(value.metrics)
  }
}

function parseString (value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function parseRecord (value: unknown): Record<string, unknown> | null {
  return isRecord(value) ? value : null
}

function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parsePredictSeconds (metrics: unknown): number | null {
  const seconds = parseRecord(metrics)?.predict_time
  return typeof seconds === 'number' && seconds >= 0 && seconds <= maxPredictSeconds ? seconds : null
}

function parseError (error: unknown): string | null {
  if (error === undefined || error === null) return null
  return (typeof error === 'string' ? error : stringifySafely(error)).slice(0, maxErrorLength)
}

/** JSON that could be read can still be nested too deeply to be written. */
export function stringifySafely (value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return '[cannot be written]'
  }
}

/** An implausible time counts as missing: it would stretch a search over thousands of years. */
function parseTime (value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : NaN
  return ms >= minTime && ms <= maxTime ? ms : null
}
