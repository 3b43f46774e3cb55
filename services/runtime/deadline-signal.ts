import { maxTimerMs } from './backoff.ts'

export interface DeadlineSignal {
  signal: AbortSignal
  /** Lets go of the parent and of the timer: the signal is not aborted any more. */
  dispose: () => void
}

/**
 * A signal that is aborted with its parent, or after `ms`. What `AbortSignal.any` and `AbortSignal.timeout` leave behind
 * stays until the time is over, though what it was for has ended long before: hundreds of bytes for each task, for
 * fourteen minutes. Of this one nothing stays after `dispose`.
 */
export function createDeadlineSignal (parent: AbortSignal, ms: number): DeadlineSignal {
  const controller = new AbortController()
  const abortWithParent = (): void => abort(parent.reason)
  const timer = setTimeout(() => abort(new DOMException('The time is over', 'TimeoutError')), Math.min(ms, maxTimerMs)).unref()
  const dispose = (): void => {
    clearTimeout(timer)
    parent.removeEventListener('abort', abortWithParent)
  }
  function abort (reason: unknown): void {
    dispose()
    controller.abort(reason)
  }
  if (parent.aborted) abortWithParent()
  else parent.addEventListener('abort', abortWithParent)
  return { signal: controller.signal, dispose }
}
