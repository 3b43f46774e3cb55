import { StoreUnavailableError } from '../store/store-errors.ts'
import type { TaskStore } from '../store/task-store.ts'
import type { TaskView } from '../tasks/task-view.ts'
import { isOpen, type Task } from '../tasks/task.ts'
import type { TaskSubscriptions } from './task-subscriptions.ts'

export interface StatusEventsOptions {
  taskStore: Pick<TaskStore, 'get'>
  taskSubscriptions: TaskSubscriptions
  present: (task: Task) => TaskView
  /** whether the client may still read the task; asked before each event and each comment */
  isAllowed: () => boolean
  /** aborted when the client has left */
  signal: AbortSignal
  /** ms without an event after which a comment is sent */
  heartbeatMs?: number
}

/** Less than the 15 s after which some proxies close a silent connection. */
const defaultHeartbeatMs = 14_000
const reconnectAfterMs = 5_000

/**
 * Yields the server-sent events of a task: the current task, then the task after each change, until it has ended, has been deleted, the
 * client may no longer read it, or the instance stops. The task is read only when the client takes the next event, so a slow client gets fewer events and none pile up.
 */
export async function * statusEvents (taskId: string, { taskStore, taskSubscriptions, present, isAllowed, signal, heartbeatMs = defaultHeartbeatMs }: StatusEventsOptions): AsyncGenerator<string> {
  const subscription = taskSubscriptions.subscribe(taskId)
  try {
    yield `retry: ${reconnectAfterMs}\n\n`
    for (let sentRevision: number | undefined; ;) {
      const task = await tryRead(taskId, taskStore)
      if (task === undefined || !isAllowed()) return
      subscription.noteRevision(task === 'unavailable' ? undefined : task.revision)
      if (task !== 'unavailable' && task.revision !== sentRevision) yield formatEvent(present(task))
      if (task !== 'unavailable') sentRevision = task.revision
      if (task !== 'unavailable' && !isOpen(task)) return
      // A heartbeat reads nothing: otherwise all streams of all instances would query a database that is unavailable.
      do {
        if (taskSubscriptions.isStopping || signal.aborted) return
        if (await subscription.waitForChange(heartbeatMs, signal)) break
        if (!isAllowed()) return
        yield ':\n\n'
      } while (true)
      // The task is not read again, because the database may be the reason to stop. A client that reconnects gets the current task.
      if (taskSubscriptions.isStopping) return
    }
  } finally {
    subscription.close()
  }
}

/** An unavailable store does not end a stream, because the client would only reconnect to the same store. */
async function tryRead (taskId: string, taskStore: Pick<TaskStore, 'get'>): Promise<Task | undefined | 'unavailable'> {
  try {
    return await taskStore.get(taskId)
  } catch (error) {
    if (error instanceof StoreUnavailableError) return 'unavailable'
    throw error
  }
}

function formatEvent (view: TaskView): string {
  return `event: status\nid: ${view.revision}\ndata: ${JSON.stringify(view)}\n\n`
}
