import { maxTimerMs } from '../runtime/backoff.ts'
import type { TaskEvent } from '../store/task-event.ts'
import type { Task } from '../tasks/task.ts'

/** Somebody who wants to know when a task changes. Close it in the end. */
export interface TaskSubscription {
  /**
   * Resolves at once where the task may have changed since the last call, else as soon as it does, when `ms` have passed,
   * when the signal is aborted, or when the instance stops. Never rejects. True where it is worth reading again.
   */
  waitForChange (ms: number, signal: AbortSignal): Promise<boolean>
  /** Notes which revision has been read last, undefined where reading failed: a look wakes who has seen another one. */
  noteRevision (revision: number | undefined): void
  close (): void
}

interface Subscriber { isDue: boolean, revision: number | undefined, wake: () => void }

const maxConcurrentReads = 500

/**
 * Who waits for which task on this instance. Waiting costs no query: news, from here and from the other instances, say
 * when it is worth reading again.
 */
export class TaskSubscriptions {
  #subscribers = new Map<string, Set<Subscriber>>()
  #stopping = new AbortController()

  /** Whether all who wait have been told to give up. */
  get isStopping (): boolean {
    return this.#stopping.signal.aborted
  }

  /** How many tasks somebody waits for. */
  get size (): number {
    return this.#subscribers.size
  }

  /** Subscribe first, then read the task: no change is missed between the two. */
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
   * Reads every awaited task once, however many wait for it, and wakes who has not seen it as it is: the net below news
   * that were lost and reads that failed.
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

  /** Wakes all who wait, for good. */
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
