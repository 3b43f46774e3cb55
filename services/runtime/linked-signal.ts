import { longestTimerMs } from './backoff.ts'

export interface LinkedSignal {
  signal: AbortSignal
  /** Lets go of the parent and of the timer: the signal is not aborted any more. */
  unlink: () => void
}

/**
 * A signal that is aborted with its parent, or after `ms`. What `AbortSignal.any` and `AbortSignal.timeout` leave behind
 * stays until the time is over, though what it was for has ended long before: hundreds of bytes for each task, for
 * fourteen minutes. Of this one nothing stays after `unlink`.
 */
export function linkedSignal (parent: AbortSignal, ms: number): LinkedSignal {
  const controller = new AbortController()
  const follow = (): void => abort(parent.reason)
  const timer = setTimeout(() => abort(new DOMException('The time is over', 'TimeoutError')), Math.min(ms, longestTimerMs)).unref()
  const unlink = (): void => {
    clearTimeout(timer)
    parent.removeEventListener('abort', follow)
  }
  function abort (reason: unknown): void {
    unlink()
    controller.abort(reason)
  }
  if (parent.aborted) follow()
  else parent.addEventListener('abort', follow)
  return { signal: controller.signal, unlink }
}
