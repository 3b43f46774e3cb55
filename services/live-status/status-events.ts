import { isOpen, type Task } from '../tasks/task.ts'
import { presentTask } from '../tasks/task-view.ts'
import type { TaskStore } from '../store/task-store.ts'
import { StoreUnavailableError } from '../store/store-errors.ts'
import type { TaskSubscriptions } from './task-subscriptions.ts'

export interface StatusEventsOptions {
  taskStore: Pick<TaskStore, 'get'>
  taskSubscriptions: TaskSubscriptions
  /** aborted when nobody listens any more */
  signal: AbortSignal
  /** ms of silence after which a comment is sent */
  heartbeatMs?: number
}

/** Below 15 s, after which some proxies take a silent connection for dead. */
const defaultHeartbeatMs = 14_000
const reconnectAfterMs = 5_000

/**
 * A task's server-sent events: the task as it is, then after every change, until it has ended, is gone, or the instance
 * stops. It is read only when the reader takes the next event: a slow one gets fewer of them, and nothing piles up.
 */
export async function * statusEvents (taskId: string, { taskStore, taskSubscriptions, signal, heartbeatMs = defaultHeartbeatMs }: StatusEventsOptions): AsyncGenerator<string> {
  const subscription = taskSubscriptions.subscribe(taskId)
  try {
    yield `retry: ${reconnectAfterMs}\n\n`
    for (let sentRevision: number | undefined; ;) {
      const task = await tryRead(taskId, taskStore)
      if (task === undefined) return
      subscription.noteRevision(task === 'unavailable' ? undefined : task.revision)
      if (task !== 'unavailable' && task.revision !== sentRevision) yield formatEvent(task)
      if (task !== 'unavailable') sentRevision = task.revision
      if (task !== 'unavailable' && !isOpen(task)) return
      // Nothing is read for a sign of life: all streams of all instances would ask a database that is away.
      do {
        if (taskSubscriptions.isStopping || signal.aborted) return
        if (await subscription.waitForChange(heartbeatMs, signal)) break
        yield ':\n\n'
      } while (true)
      // Not read once more: the database may be the reason to stop, and a client that comes again is told how things are.
      if (taskSubscriptions.isStopping) return
    }
  } finally {
    subscription.close()
  }
}

/** A store that is away ends no stream: its client would only ask the same store again. */
async function tryRead (taskId: string, taskStore: Pick<TaskStore, 'get'>): Promise<Task | undefined | 'unavailable'> {
  try {
    return await taskStore.get(taskId)
  } catch (error) {
    if (error instanceof StoreUnavailableError) return 'unavailable'
    throw error
  }
}

function formatEvent (task: Task): string {
  return `event: status\nid: ${task.revision}\ndata: ${JSON.stringify(presentTask(task))}\n\n`
}
