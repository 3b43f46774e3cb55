import { setTimeout as delay } from 'node:timers/promises'

export interface UntilOptions {
  /** ends the wait with an Error; 40 s where nothing is given, below the minute of the fallback polls under webhooks */
  timeoutMs?: number
  /** between two polls */
  intervalMs?: number
  signal?: AbortSignal | undefined
}

/**
 * Waits for a condition.
 * @param poll gives undefined or false as long as the condition does not hold
 * @param what completes the sentence "Waited in vain for …"
 * @returns the first value of `poll` that is neither undefined nor false
 * @throws Error after `timeoutMs`, and the reason of the signal
 */
export async function until<T> (
  poll: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
  { timeoutMs = 40_000, intervalMs = 5, signal }: UntilOptions = {}
): Promise<T> {
  for (const deadline = Date.now() + timeoutMs; ; await delay(intervalMs, undefined, { signal })) {
    const found = await poll()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}`)
  }
}

/** Sleeps for `ms`, or until the signal: it never rejects. */
export async function pause (ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined)
}
