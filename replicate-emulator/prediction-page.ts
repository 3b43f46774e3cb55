import { isWiped, showPrediction, type Prediction, type PredictionView } from './prediction.ts'
import type { PredictionLog } from './prediction-log.ts'
import { Problem } from './problem.ts'

export interface PageQuery {
  cursor?: string
  created_after?: string
  created_before?: string
}

interface Page {
  next: string | null
  previous: string | null
  results: PredictionListItem[]
}

type PredictionListItem = Omit<PredictionView, 'logs' | 'webhook' | 'webhook_events_filter'> & { webhook?: string }

interface Shown {
  now: number
  origin: string
  withWebhook: boolean
}

const PAGE = 100

/**
 * One page, newest first. A cursor names a place between two predictions, so pages are stable while others arrive.
 * Throws a Problem for a time or a cursor that cannot be read.
 */
export function readPage (log: PredictionLog, query: PageQuery, shown: Shown): Page {
  const from = query.created_after === undefined ? 0 : log.indexAt(readTime('created_after', query.created_after))
  const to = query.created_before === undefined ? log.all.length : log.indexAt(readTime('created_before', query.created_before))
  const [low, high] = bounds(query.cursor, from, to)
  const address = (cursor: string | null) => cursor === null ? null : pageAddress(shown.origin, query, cursor)
  return {
    next: address(low > from ? `before ${low}` : null),
    previous: address(query.cursor !== undefined && high < to ? `after ${high}` : null),
    results: log.all.slice(low, high).reverse().map((prediction) => listItem(prediction, shown)),
  }
}

/** The indexes of the page: at most a hundred between `from` and `to`, on the cursor's side. */
function bounds (cursor: string | undefined, from: number, to: number): [low: number, high: number] {
  if (cursor === undefined) return [Math.max(from, to - PAGE), Math.max(from, to)]
  const [, side, index] = /^(before|after) (\d{1,15})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  if (index === undefined) throw new Problem(400, 'Invalid cursor', { title: 'Bad request' })
  const at = Math.min(Math.max(Number(index), from), Math.max(from, to))
  return side === 'before' ? [Math.max(from, at - PAGE), at] : [at, Math.max(at, Math.min(to, at + PAGE))]
}

function pageAddress (origin: string, { cursor, ...filters }: PageQuery, place: string): string {
  const search = new URLSearchParams({ ...filters, cursor: Buffer.from(place).toString('base64url') })
  return `${origin}/v1/predictions?${search}`
}

function listItem (prediction: Prediction, { now, origin, withWebhook }: Shown): PredictionListItem {
  const { logs, webhook, webhook_events_filter: filter, ...item } = showPrediction(prediction, now, origin)
  return withWebhook && webhook !== undefined && !isWiped(prediction, now) ? { ...item, webhook } : item
}

/** An RFC 3339 time in microseconds. Date.parse knows only three digits of the fraction, so the next three are read here. */
function readTime (name: string, text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new Problem(400, `${name} must be an ISO 8601 date-time`, { title: 'Bad request' })
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1] ?? ''
  return ms * 1000 + Number(micros.padEnd(3, '0'))
}
