import { indexAt, type PredictionLog } from './prediction-log.ts'
import { isWiped, showPrediction, type Prediction, type PredictionView } from './prediction.ts'
import { Problem } from './problem.ts'
import type { Settings } from './settings.ts'

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

type PredictionListItem = Omit<PredictionView, 'input' | 'logs' | 'webhook' | 'webhook_events_filter'> & Partial<Pick<PredictionView, 'input' | 'webhook'>>

interface Shown {
  now: number
  origin: string
  settings: Pick<Settings, 'listShowsInput' | 'listShowsWebhook' | 'listLagMs'>
}

const pageSize = 100

/**
 * One page, newest first. A cursor names a place between two predictions, so pages are stable while others arrive.
 * Throws a Problem for a time or a cursor that cannot be read.
 */
export function readPage (log: PredictionLog, query: PageQuery, shown: Shown): Page {
  const listed = listedBy(log, shown)
  const from = query.created_after === undefined ? 0 : indexAt(listed, readTime('created_after', query.created_after))
  const to = query.created_before === undefined ? listed.length : indexAt(listed, readTime('created_before', query.created_before))
  const [low, high] = bounds(query.cursor, listed, from, Math.max(from, to))
  const address = (side: Side, index: number) => pageAddress(shown.origin, query, `${side} ${listed[index]?.createdMicros}`)
  return {
    next: low > from ? address('before', low) : null,
    previous: query.cursor !== undefined && high < to ? address('after', high) : null,
    results: listed.slice(low, high).reverse().map((prediction) => listItem(prediction, shown))
  }
}

/** What the list knows by now, by creation. */
function listedBy (log: PredictionLog, { now, settings: { listLagMs } }: Shown): readonly Prediction[] {
  return listLagMs === 0 ? log.byCreation : log.byCreation.filter(({ createdAt }) => createdAt + listLagMs <= now)
}

type Side = 'before' | 'after'

/** The indexes of the page: at most a hundred between `from` and `to`, on the cursor's side. */
function bounds (cursor: string | undefined, listed: readonly Prediction[], from: number, to: number): [low: number, high: number] {
  if (cursor === undefined) return [Math.max(from, to - pageSize), to]
  const [, side, micros] = /^(before|after) (\d{1,17})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  if (micros === undefined) throw new Problem(400, 'Invalid cursor', { title: 'Bad request' })
  const at = Math.min(Math.max(indexAt(listed, Number(micros)), from), to)
  return side === 'before' ? [Math.max(from, at - pageSize), at] : [at, Math.max(at, Math.min(to, at + pageSize))]
}

function pageAddress (origin: string, { cursor, ...filters }: PageQuery, place: string): string {
  const search = new URLSearchParams({ ...filters, cursor: Buffer.from(place).toString('base64url') })
  return `${origin}/v1/predictions?${search}`
}

function listItem (prediction: Prediction, { now, origin, settings: { listShowsInput, listShowsWebhook } }: Shown): PredictionListItem {
  const { logs, input, webhook, webhook_events_filter: filter, ...item } = showPrediction(prediction, now, origin)
  return {
    ...item,
    ...(listShowsInput && { input }),
    ...(listShowsWebhook && webhook !== undefined && !isWiped(prediction, now) && { webhook })
  }
}

/** An RFC 3339 time in microseconds. Date.parse knows only three digits of the fraction, so the next three are read here. */
function readTime (name: string, text: string): number {
  const ms = Date.parse(text)
  if (Number.isNaN(ms)) throw new Problem(400, `${name} must be an ISO 8601 date-time`, { title: 'Bad request' })
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1] ?? ''
  return ms * 1000 + Number(micros.padEnd(3, '0'))
}
