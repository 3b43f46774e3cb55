import { isOpen, presentTask, type Task } from './task.ts'
import type { TaskStore } from './task-store.ts'
import type { TaskSubscriptions } from './task-subscriptions.ts'

export interface StatusEventsOptions {
  taskStore: TaskStore
  taskSubscriptions: TaskSubscriptions
  /** aborted when nobody listens any more */
  signal: AbortSignal
}

/** Below 15 s, after which some proxies take a silent connection for dead. */
const signOfLifeMs = 14_000
const reconnectAfterMs = 5_000

/**
 * A task's server-sent events: the task as it is, then after every change, until it has ended, is gone, or the instance
 * stops. It is read only when the reader takes the next event: a slow one gets fewer of them, and nothing piles up.
 */
export async function * statusEvents (taskId: string, { taskStore, taskSubscriptions, signal }: StatusEventsOptions): AsyncGenerator<string> {
  const subscription = taskSubscriptions.subscribe(taskId)
  try {
    yield `retry: ${reconnectAfterMs}\n\n`
    for (let told: number | undefined; ;) {
      const task = await taskStore.get(taskId)
      if (task === undefined) return
      yield task.revision === told ? ':\n\n' : eventOf(task)
      told = task.revision
      if (!isOpen(task) || taskSubscriptions.isStopping || signal.aborted) return
      await subscription.next(signOfLifeMs, signal)
    }
  } finally {
    subscription.close()
  }
}

function eventOf (task: Task): string {
  return `event: status\nid: ${task.revision}\ndata: ${JSON.stringify(presentTask(task))}\n\n`
}
