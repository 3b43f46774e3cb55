import type { Task } from '../tasks/task.ts'
import type { GenerationContext } from './held-task.ts'

/** An event of a change can be lost: the row is read again after this time. */
const refreshMs = 60_000

export class TaskChangedError extends Error {}

export interface TaskChangeSignal {
  /** aborted with a TaskChangedError when the task has changed, and with the reason of the instance's stop */
  signal: AbortSignal
  stop: () => void
}

/**
 * Aborts its signal when the stored task is not the given one any more. A task that was canceled, or whose prediction a
 * webhook has brought, then leaves the gate without using up a call.
 */
export function watchTaskChange (task: Task, context: GenerationContext): TaskChangeSignal {
  const changed = new AbortController()
  const stopped = new AbortController()
  const changes = context.taskChanges.subscribe(task.id)
  const onStop = (): void => changed.abort(context.signal.reason)
  const stop = (): void => {
    stopped.abort()
    changes.close()
    context.signal.removeEventListener('abort', onStop)
  }
  context.signal.addEventListener('abort', onStop)
  if (context.signal.aborted) onStop()
  abortWhenChanged()
  return { signal: changed.signal, stop }

  /** Never rejects: while the store is unavailable, the task is read again at the next event. */
  async function abortWhenChanged (): Promise<void> {
    while (!stopped.signal.aborted && !changed.signal.aborted) {
      await changes.waitForChange(refreshMs, stopped.signal)
      const current = stopped.signal.aborted ? task : await context.taskStore.get(task.id).catch(() => task)
      if (current?.version !== task.version) changed.abort(new TaskChangedError())
    }
  }
}
