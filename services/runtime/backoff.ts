import { setTimeout as delay } from 'node:timers/promises'

/** The delays between attempts. */
export interface BackoffOptions { firstMs: number, maxMs: number }

/**
 * Computes an exponential delay with "equal jitter": half of it is random, so that callers that failed together do not retry together.
 * @param attempt 0 for the first retry
 * @returns ms
 */
export function backoffDelay (attempt: number, { firstMs, maxMs }: BackoffOptions): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30))
  return full / 2 + Math.random() * full / 2
}

/** Node fires a timer with a longer delay at once, which would turn a loop that waits into a busy loop. */
export const maxTimerMs = 2 ** 31 - 1

/**
 * Waits.
 * @param ms zero or less waits for the next turn of the event loop; the maximum is 24.8 days
 * @throws the signal's reason as soon as it is aborted
 */
export async function wait (ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.min(Math.max(0, ms), maxTimerMs), undefined, { signal }).catch((error: unknown) => {
    signal.throwIfAborted()
    throw error
  })
}
