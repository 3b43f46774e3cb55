import { setTimeout as delay } from 'node:timers/promises'

/** Waits between tries of the same thing, all in ms. */
export interface BackoffOptions { firstMs: number, maxMs: number }

/** A growing wait, halved at random at most ("equal jitter"), so that many who failed together do not return together. */
export function backoffDelay (attempt: number, { firstMs, maxMs }: BackoffOptions): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30))
  return full / 2 + Math.random() * full / 2
}

/** A timer for longer than this fires at once, which makes a busy loop of whatever waits again. */
export const maxTimerMs = 2 ** 31 - 1

/**
 * @param ms how long; a negative or zero wait ends at the next turn of the event loop, one of more than 24.8 days after 24.8
 * @throws the signal's reason as soon as it is aborted
 */
export async function wait (ms: number, signal: AbortSignal): Promise<void> {
  await delay(Math.min(Math.max(0, ms), maxTimerMs), undefined, { signal }).catch((error: unknown) => {
    signal.throwIfAborted()
    throw error
  })
}
