import type { Prediction } from './prediction.ts'
import type { ReplicateClient } from './replicate-client.ts'

/** A prediction that a sweep looks for. */
export interface Sought {
  predictionId: string
  /** ms since the epoch, by the provider's clock, which its list is ordered and filtered by */
  createdAt: number
}

export interface Sweep {
  /** In the provider's list, which leaves out logs. */
  seen: Prediction[]
  /** Looked for and not in the list. */
  absent: Sought[]
  /** Looked for where a page could not be read. */
  unread: Sought[]
}

interface Window { sought: Sought[], createdAfter: number, createdBefore: number }

/** A little less than a page, for the predictions of others in between. */
const soughtInWindow = 90
const windowsAtOnce = 8
/** Beyond, reading those that are left one by one costs less. */
const mostPages = soughtInWindow / 3

/**
 * Finds many predictions by reading the list in windows of creation time, side by side: about one call for ninety.
 * Times between the windows, where nothing is sought, are skipped.
 */
export async function sweepPredictions (sought: Sought[], replicate: ReplicateClient, signal: AbortSignal): Promise<Sweep> {
  const windows = windowsOf(sought)
  const sweep: Sweep = { seen: [], absent: [], unread: [] }
  await Promise.all(Array.from({ length: windowsAtOnce }, async () => {
    for (let window = windows.shift(); window !== undefined; window = windows.shift()) {
      await sweepWindow(window, sweep, replicate, signal)
    }
  }))
  return sweep
}

async function sweepWindow ({ sought, createdAfter, createdBefore }: Window, sweep: Sweep, replicate: ReplicateClient, signal: AbortSignal): Promise<void> {
  const left = new Map(sought.map((one) => [one.predictionId, one]))
  let cursor: string | null | undefined
  for (let pages = 0; left.size > 0 && cursor !== null && pages < mostPages; pages++) {
    const page = await replicate.list({ createdAfter, createdBefore, cursor }, { signal })
    if (page.outcome === 'unavailable') {
      sweep.unread.push(...left.values())
      return
    }
    const ours = page.predictions.filter(({ id }) => left.delete(id))
    sweep.seen.push(...ours)
    if (ours.length === 0) break
    cursor = page.next
  }
  sweep.absent.push(...left.values())
}

function windowsOf (sought: Sought[]): Window[] {
  const inOrder = sought.toSorted((a, b) => a.createdAt - b.createdAt)
  const windows: Window[] = []
  for (let start = 0; start < inOrder.length; start += soughtInWindow) {
    const some = inOrder.slice(start, start + soughtInWindow)
    // The provider counts microseconds; whether its bounds are inclusive is not documented.
    windows.push({ sought: some, createdAfter: (some[0]?.createdAt ?? 0) - 1, createdBefore: (some.at(-1)?.createdAt ?? 0) + 2 })
  }
  return windows
}
