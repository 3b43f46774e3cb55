import { maxTimerMs } from './backoff.ts'

export interface DeadlineSignal {
  signal: AbortSignal
  /** Removes the listener from the parent and clears the timer. The signal is not aborted any more. */
  dispose: () => void
}

/**
 * Makes a signal that is aborted with its parent or after `ms`. `AbortSignal.any` with `AbortSignal.timeout` would keep hundreds of
 * bytes for each task until the timeout, fourteen minutes, although the task has long ended. After `dispose` nothing of this is kept.
 */
export function createDeadlineSignal (parent: AbortSignal, ms: number): DeadlineSignal {
  const controller = new AbortController()
  const abortWithParent = (): void => abort(parent.reason)
  const timer = setTimeout(() => abort(new DOMException('The deadline has passed', 'TimeoutError')), Math.min(ms, maxTimerMs)).unref()
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
