import { LRUCache } from 'lru-cache'
import { isOpen, type Task } from '../tasks/task.ts'

/** Open tasks whose last change of state is remembered. */
const maxTasks = 20_000

/** Remembers since when tasks are in their state. Other instances do not know it, and it is lost at the end of the process. */
export class StateTimer {
  readonly #now
  readonly #enteredAt = new LRUCache<string, number>({ max: maxTasks })

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
    const enteredAt = this.#enteredAt.get(from.id) ?? readEntry(from)
    if (isOpen(to)) this.#enteredAt.set(to.id, leftAt)
    else this.#enteredAt.delete(to.id)
    return { enteredAt, leftAt }
  }
}

/** @returns when the task entered its state, as far as the task itself says it */
function readEntry ({ state, createdAt, waitingFor, submission }: Task): number | undefined {
  if (state === 'submitting') return submission?.startedAt
  return state === 'queued' && waitingFor === null ? createdAt : undefined
}
