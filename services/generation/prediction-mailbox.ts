import type { ReadOutcome } from '../replicate/outcomes.ts'
import { isEnded } from '../replicate/prediction.ts'
import { maxTimerMs } from '../runtime/backoff.ts'

/** `task_changed`: the row of the task may have changed and has to be read again. */
export type PredictionUpdate = ReadOutcome | { outcome: 'task_changed' }

/**
 * Updates that a task has not taken yet: at most one of its prediction and one of its row. A newer update replaces an
 * older one, so that nothing accumulates, but nothing replaces the end of the prediction.
 */
export class PredictionMailbox {
  #updates: PredictionUpdate[] = []
  #wake: () => void = () => {}

  put (update: PredictionUpdate): void {
    const index = this.#updates.findIndex((other) => isTaskChange(other) === isTaskChange(update))
    const replaced = this.#updates[index]
    if (replaced === undefined) this.#updates.push(update)
    else if (!isFinal(replaced)) this.#updates[index] = update
    this.#wake()
  }

  /** Removes the oldest update and returns it; undefined where there is none. */
  take (): PredictionUpdate | undefined {
    return this.#updates.shift()
  }

  /**
   * Resolves with the next update, or when `ms` have passed.
   * @throws the signal's reason as soon as it is aborted
   */
  async wait (ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    return await new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        this.#wake = () => {}
        settle()
      }
      const timer = setTimeout(() => finish(resolve), Math.min(ms, maxTimerMs))
      const onAbort = (): void => finish(() => reject(signal.reason))
      signal.addEventListener('abort', onAbort)
      this.#wake = () => finish(resolve)
    })
  }
}

function isTaskChange ({ outcome }: PredictionUpdate): boolean {
  return outcome === 'task_changed'
}

function isFinal (update: PredictionUpdate): boolean {
  return update.outcome === 'found' && isEnded(update.prediction)
}
