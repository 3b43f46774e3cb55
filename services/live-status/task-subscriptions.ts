import { maxTimerMs } from '../runtime/backoff.ts'
import type { TaskEvent } from '../store/task-event.ts'
import type { Task } from '../tasks/task.ts'

/** Waits for changes of one task. It has to be closed. */
export interface TaskSubscription {
  /**
   * Waits until the task may have changed since the last call, `ms` have passed, the signal is aborted or the instance stops. Never
   * rejects. @returns whether the task may have changed and should be read again
   */
  waitForChange (ms: number, signal: AbortSignal): Promise<boolean>
  /** Notes the revision that was read last, undefined if reading failed. `poll` wakes subscribers that have read another one. */
  noteRevision (revision: number | undefined): void
  close (): void
}

interface Subscriber { isDue: boolean, revision: number | undefined, wake: () => void }

const maxConcurrentReads = 500

/**
 * The subscriptions of this instance to changes of tasks. Waiting needs no query: events of this and of the other instances wake the
 * subscribers of a task when it should be read again.
 */
export class TaskSubscriptions {
  #subscribers = new Map<string, Set<Subscriber>>()
  #stopping = new AbortController()

  /** whether all subscribers have been told to stop waiting */
  get isStopping (): boolean {
    return this.#stopping.signal.aborted
  }

  /** the number of tasks with subscribers */
  get size (): number {
    return this.#subscribers.size
  }

  /** Subscribes to a task. Read the task afterwards, so that no change between the two is missed. */
  subscribe (taskId: string): TaskSubscription {
    const subscriber: Subscriber = { isDue: false, revision: undefined, wake: () => {} }
    const others = this.#subscribers.get(taskId) ?? new Set()
    this.#subscribers.set(taskId, others.add(subscriber))
    return {
      waitForChange: (ms, signal) => this.#waitForChange(subscriber, ms, signal),
      noteRevision: (revision) => { subscriber.revision = revision },
      close: () => {
        others.delete(subscriber)
        if (others.size === 0 && this.#subscribers.get(taskId) === others) this.#subscribers.delete(taskId)
      }
    }
  }

  notify (event: TaskEvent): void {
    if (event.kind === 'poll_requested') return
    const sets = event.kind === 'resync' ? this.#subscribers.values() : event.taskIds.map((taskId) => this.#subscribers.get(taskId))
    for (const subscribers of sets) {
      for (const subscriber of subscribers ?? []) wake(subscriber)
    }
  }

  /**
   * Reads each task that has subscribers once and wakes those that have read another revision. This is the fallback for events that
   * were lost and reads that failed.
   */
  async poll (read: (taskId: string) => Promise<Task | undefined>): Promise<void> {
    const taskIds = Array.from(this.#subscribers.keys())
    for (let start = 0; start < taskIds.length && !this.isStopping; start += maxConcurrentReads) {
      await Promise.all(taskIds.slice(start, start + maxConcurrentReads).map(async (taskId) => {
        const revision = (await read(taskId))?.revision
        for (const subscriber of this.#subscribers.get(taskId) ?? []) {
          if (revision === undefined || subscriber.revision !== revision) wake(subscriber)
        }
      }))
    }
  }

  /** Wakes all subscribers. From now on waiting ends at once. */
  stop (): void {
    this.#stopping.abort()
    this.notify({ kind: 'resync' })
  }

  async #waitForChange (subscriber: Subscriber, ms: number, signal: AbortSignal): Promise<boolean> {
    if (!subscriber.isDue && !this.isStopping && !signal.aborted) await waitForWake(subscriber, ms, signal)
    const { isDue } = subscriber
    subscriber.isDue = false
    return isDue
  }
}

function wake (subscriber: Subscriber): void {
  subscriber.isDue = true
  subscriber.wake()
}

function waitForWake (subscriber: Subscriber, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', finish)
      subscriber.wake = () => {}
      resolve()
    }
    const timer = setTimeout(finish, Math.min(ms, maxTimerMs))
    signal.addEventListener('abort', finish)
    subscriber.wake = finish
  })
}
