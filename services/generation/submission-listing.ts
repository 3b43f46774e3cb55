import type { ListOutcome } from '../replicate/outcomes.ts'
import type { Prediction } from '../replicate/prediction.ts'
import type { ProviderClock } from '../replicate/provider-clock.ts'
import type { ListQuery, ReplicateClient } from '../replicate/replicate-client.ts'
import type { UpstreamFailure } from '../replicate/replicate-failure.ts'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import { maxSkewMs, type OpenSubmission } from './submission-matching.ts'

/** What the provider's list shows around the times of the submissions. */
export interface Listing {
  predictions: Prediction[]
  /** Whether the list was read to its end around the time of this task's submission. */
  covers: (taskId: string) => boolean
  /** the newest creation time in the list, ms since the epoch by the provider's clock; null without any */
  newestCreatedAt: number | null
  /** why the first unreadable page could not be read */
  failure: UpstreamFailure | undefined
}

interface ListOptions { replicate: ReplicateClient, providerClock: Pick<ProviderClock, 'now'>, signal: AbortSignal }

/** A period in which predictions of these tasks can have been created, ms since the epoch by the provider's clock. */
interface Span { from: number, until: number, taskIds: string[] }

/** A page has 100 predictions. This is far more than an account can create within one span of a few minutes. */
const maxPages = 300
/** A page is retried, because without it all pages before it would be useless. */
const maxPageReads = 4
const pageBackoff = { firstMs: 200, maxMs: 2_000 }

/**
 * Reads the list around the times of all submissions. Times that overlap are read once, so that the number of calls
 * grows with the predictions that were made, not with the submissions.
 */
export async function listAroundSubmissions (submissions: OpenSubmission[], { replicate, providerClock, signal }: ListOptions): Promise<Listing> {
  const predictions = new Map<string, Prediction>()
  const covered = new Set<string>()
  let failure: UpstreamFailure | undefined
  for (const span of mergeSpans(submissions)) {
    const failed = await readSpan(span, predictions, replicate, signal)
    signal.throwIfAborted()
    if (failed === undefined) for (const taskId of span.taskIds) covered.add(taskId)
    failure ??= failed
  }
  const newestCreatedAt = findNewestCreation(predictions.values(), providerClock.now())
  return { predictions: Array.from(predictions.values()), covers: (taskId) => covered.has(taskId), newestCreatedAt, failure }
}

/** A creation time in the future is ignored: it proves nothing about how current the list is. */
function findNewestCreation (predictions: Iterable<Prediction>, now: number | null): number | null {
  let newest: number | null = null
  for (const { createdAt } of predictions) {
    if (createdAt !== null && now !== null && createdAt <= now && createdAt > (newest ?? 0)) newest = createdAt
  }
  return newest
}

async function readSpan ({ from, until }: Span, found: Map<string, Prediction>, replicate: ReplicateClient, signal: AbortSignal): Promise<UpstreamFailure | undefined> {
  let cursor: string | null | undefined
  for (let pages = 0; cursor !== null; pages++) {
    if (pages === maxPages) return { code: 'provider_error', status: null, message: 'The list has no end', retryAfterMs: null }
    const page = await readPage({ createdAfter: from, createdBefore: until, cursor }, replicate, signal)
    if (page.outcome !== 'page') return page.failure
    for (const prediction of page.predictions) found.set(prediction.id, prediction)
    cursor = page.next
  }
}

async function readPage (query: ListQuery, replicate: ReplicateClient, signal: AbortSignal): Promise<ListOutcome> {
  for (let attempt = 1; ; attempt++) {
    const page = await replicate.list(query, { signal })
    if (page.outcome === 'page' || attempt === maxPageReads || signal.aborted) return page
    await wait(backoffDelay(attempt - 1, pageBackoff), signal)
  }
}

function mergeSpans (submissions: OpenSubmission[]): Span[] {
  const spans: Span[] = []
  for (const { taskId, startedAt, arrivalMs } of submissions.toSorted((a, b) => a.startedAt - b.startedAt)) {
    const from = startedAt - maxSkewMs
    const until = startedAt + arrivalMs + maxSkewMs
    const last = spans.at(-1)
    if (last === undefined || last.until < from) {
      spans.push({ from, until, taskIds: [taskId] })
    } else {
      last.until = Math.max(last.until, until)
      last.taskIds.push(taskId)
    }
  }
  return spans
}
