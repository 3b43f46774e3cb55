import type { Prediction } from './prediction.ts'
import type { ReplicateClient } from './replicate-client.ts'

/** A prediction that a sweep searches for. */
export interface PredictionRef {
  predictionId: string
  /** ms since the epoch, by the provider's clock, which its list is ordered and filtered by */
  createdAt: number
}

export interface Sweep {
  /** In the provider's list, which leaves out logs. */
  seen: Prediction[]
  /** Searched for and not in the list. */
  absent: PredictionRef[]
  /** Searched for where a page could not be read. */
  unread: PredictionRef[]
}

interface Window { predictions: PredictionRef[], createdAfter: number, createdBefore: number }

/** A little less than a page, which leaves space for predictions of other clients. */
const windowSize = 90
const maxConcurrentWindows = 8
/** With more pages, single reads of the remaining predictions cost less. */
const maxPages = windowSize / 3

/**
 * Finds many predictions by reading the list in windows of creation time, side by side: about one call for ninety.
 * Periods between the windows are skipped.
 */
export async function sweepPredictions (predictions: PredictionRef[], replicate: Pick<ReplicateClient, 'list'>, signal: AbortSignal): Promise<Sweep> {
  const windows = splitIntoWindows(predictions)
  const sweep: Sweep = { seen: [], absent: [], unread: [] }
  await Promise.all(Array.from({ length: maxConcurrentWindows }, async () => {
    for (let window = windows.shift(); window !== undefined; window = windows.shift()) {
      await sweepWindow(window, sweep, replicate, signal)
    }
  }))
  return sweep
}

async function sweepWindow ({ predictions, createdAfter, createdBefore }: Window, sweep: Sweep, replicate: Pick<ReplicateClient, 'list'>, signal: AbortSignal): Promise<void> {
  const remaining = new Map(predictions.map((ref) => [ref.predictionId, ref]))
  let cursor: string | null | undefined
  for (let pages = 0; remaining.size > 0 && cursor !== null && pages < maxPages; pages++) {
    const page = await replicate.list({ createdAfter, createdBefore, cursor }, { signal })
    if (page.outcome === 'unavailable') {
      sweep.unread.push(...remaining.values())
      return
    }
    const ours = page.predictions.filter(({ id }) => remaining.delete(id))
    sweep.seen.push(...ours)
    if (ours.length === 0) break
    cursor = page.next
  }
  sweep.absent.push(...remaining.values())
}

function splitIntoWindows (predictions: PredictionRef[]): Window[] {
  const inOrder = predictions.toSorted((a, b) => a.createdAt - b.createdAt)
  const windows: Window[] = []
  for (let start = 0; start < inOrder.length; start += windowSize) {
    const some = inOrder.slice(start, start + windowSize)
    // The provider counts microseconds; whether its bounds are inclusive is not documented.
    windows.push({ predictions: some, createdAfter: (some[0]?.createdAt ?? 0) - 1, createdBefore: (some.at(-1)?.createdAt ?? 0) + 2 })
  }
  return windows
}
