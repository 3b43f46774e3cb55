import { setTimeout as delay } from 'node:timers/promises'
import type { Log } from './log.ts'

/** Limits what a shutdown waits for, so that the process ends by itself and is not killed because something hangs. */
export class ShutdownTimer {
  #log
  #startedAt: number | undefined

  constructor (log: Log) {
    this.#log = log
  }

  /** Marks the beginning of the shutdown. Further calls change nothing. */
  start (): void {
    this.#startedAt ??= performance.now()
  }

  /**
   * Waits for `work` until `byMs` after the beginning of the shutdown, and for `forMs` at most. Work that takes longer is abandoned, and
   * one log line names it by `what`.
   * @throws what `work` throws in time
   */
  async waitFor (what: string, work: Promise<unknown>, { byMs, forMs = Infinity }: { byMs: number, forMs?: number }): Promise<void> {
    const isLate = new AbortController()
    const leftMs = Math.min(forMs, Math.max(0, byMs - (performance.now() - (this.#startedAt ?? performance.now()))))
    const late = delay(leftMs, 'late' as const, { signal: isLate.signal }).catch(() => 'done' as const)
    const outcome = await Promise.race([work, late]).finally(() => isLate.abort())
    if (outcome === 'late') this.#log.warn({ waited_for: what }, 'Stopping without waiting any longer for work that takes too long')
  }
}
