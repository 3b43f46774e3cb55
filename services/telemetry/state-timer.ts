import { LRUCache } from 'lru-cache'
import { isOpen, type Task } from '../tasks/task.ts'

/** Open tasks whose last change of state is remembered. */
const maxTasks = 20_000

/** Remembers since when tasks are in their state. Other instances do not know it, and it is lost at the end of the process. */
export class StateTimer {
  readonly #now
  /** by task */
  readonly #entries = new LRUCache<string, { state: Task['state'], enteredAt: number }>({ max: maxTasks })

  /** @param now the store's clock, ms since the epoch */
  constructor (now: () => number) {
    this.#now = now
  }

  /**
   * Call it with each transition that changes the state.
   * @returns when the task entered the state that it has left, and when it left it, in ms since the epoch; `enteredAt` is undefined if
   * it is not known
   */
  recordChange (from: Task, to: Task): { enteredAt: number | undefined, leftAt: number } {
    const leftAt = this.#now()
    const entry = this.#entries.get(from.id)
    // Another instance may have changed the state since.
    const enteredAt = entry?.state === from.state ? entry.enteredAt : readEntry(from)
    if (isOpen(to)) this.#entries.set(to.id, { state: to.state, enteredAt: leftAt })
    else this.#entries.delete(to.id)
    return { enteredAt, leftAt }
  }
}

/** @returns when the task entered its state, as far as the task itself says it */
function readEntry ({ state, createdAt, waitingFor, submission }: Task): number | undefined {
  if (state === 'submitting') return submission?.startedAt
  return state === 'queued' && waitingFor === null ? createdAt : undefined
}
