import { setTimeout as delay } from 'node:timers/promises'
import type { Log } from './log.ts'

/** Bounds what a stop waits for, so that the process ends by itself and is not killed over something that hangs. */
export class ShutdownTimer {
  #log
  #startedAt: number | undefined

  constructor (log: Log) {
    this.#log = log
  }

  /** The stop begins; a second call changes nothing. */
  start (): void {
    this.#startedAt ??= performance.now()
  }

  /**
   * Waits for `work`, but no longer than `byMs` after the stop began, nor than `forMs`. What is not done then is left as
   * it is, with one line that says `what` was waited for.
   * @throws what `work` throws in time
   */
  async waitFor (what: string, work: Promise<unknown>, { byMs, forMs = Infinity }: { byMs: number, forMs?: number }): Promise<void> {
    const isLate = new AbortController()
    const leftMs = Math.min(forMs, Math.max(0, byMs - (performance.now() - (this.#startedAt ?? performance.now()))))
    const late = delay(leftMs, 'late' as const, { signal: isLate.signal }).catch(() => 'done' as const)
    const outcome = await Promise.race([work, late]).finally(() => isLate.abort())
    if (outcome === 'late') this.#log.warn({ waited_for: what }, 'Stopping without something that takes too long')
  }
}
