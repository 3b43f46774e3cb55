import type { Transition, Task } from '../tasks/task.ts'

export interface StoreFault {
  /** Whether the same call may succeed later; true by default. A row that violates a constraint never succeeds. */
  isTransient?: boolean
  /** Whether the call may have happened even so: a commit was under way, and its answer was lost. */
  isOutcomeUnknown?: boolean
}

/** The store cannot do its work at the moment. `cause` holds the backend's own error. */
export class StoreUnavailableError extends Error {
  override name = 'StoreUnavailableError'
  readonly isTransient: boolean
  /** False: nothing was changed. */
  readonly isOutcomeUnknown: boolean

  constructor (cause: unknown, { isTransient = true, isOutcomeUnknown = false }: StoreFault = {}) {
    super('The task store is not available', { cause })
    this.isTransient = isTransient
    this.isOutcomeUnknown = isOutcomeUnknown
  }
}

/** The table does not allow this transition from the task that the caller has: a fault of the caller, not a lost race. */
export class IllegalTransitionError extends Error {
  override name = 'IllegalTransitionError'

  constructor (task: Task, transition: Transition) {
    super(`Task ${task.id} cannot ${transition.type} while it is ${task.state}`)
  }
}
