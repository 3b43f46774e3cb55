import type { TaskView } from '../services/tasks/task-view.ts'

/** A task whose id a client has read from a 200, and what the clients were told of it since. */
export interface AcceptedTask {
  readonly id: string
  /** of the dream */
  readonly key: string
  /** where its end is to be told */
  readonly address: string | undefined
  last: TaskView | undefined
  isLost: boolean
  /** What went back or changed after the end, in words. */
  readonly moves: string[]
}

const order = { pending: 0, processing: 1, completed: 2, failed: 2 }

/** What the clients did and what they were told. A dream is known by the key at its beginning: `[dream u17]`. */
export class Ledger {
  readonly tasks = new Map<string, AcceptedTask>()
  /** By the key of the dream: POSTs that may have arrived, whatever became of the answer. */
  readonly posts = new Map<string, number>()
  /** The key of the dream that was POSTed with this `callback_url`. */
  readonly addresses = new Map<string, string>()
  /** Answers that are neither what was asked for nor a refusal that a service may give, by method and status. */
  readonly strange = new Map<string, number>()

  /** @param address an own one for each POST that has one */
  sent (key: string, address: string | undefined): void {
    this.posts.set(key, (this.posts.get(key) ?? 0) + 1)
    if (address !== undefined) this.addresses.set(address, key)
  }

  accepted (key: string, id: string, address: string | undefined): AcceptedTask {
    const task = { id, key, address, last: undefined, isLost: false, moves: [] }
    this.tasks.set(id, task)
    return task
  }

  /** A task that was accepted is there at every moment, not only in the end. */
  missed (task: AcceptedTask): void {
    task.isLost = true
  }

  saw (task: AcceptedTask, now: TaskView): void {
    const before = task.last
    task.last = now
    if (before !== undefined) task.moves.push(...forbiddenMoves(before, now))
  }

  surprised (what: string): void {
    this.strange.set(what, (this.strange.get(what) ?? 0) + 1)
  }

  get open (): AcceptedTask[] {
    return [...this.tasks.values()].filter((task) => !hasEnded(task) && !task.isLost)
  }
}

export function hasEnded ({ last }: AcceptedTask): boolean {
  return last?.status === 'completed' || last?.status === 'failed'
}

/** The key of a dream, also where the dream stands inside a prompt. */
export function keyIn (text: unknown): string | undefined {
  return /\[dream (\w+)\]/.exec(String(text))?.[1]
}

function forbiddenMoves (before: TaskView, now: TaskView): string[] {
  const [then, after] = [JSON.stringify(before), JSON.stringify(now)]
  if (then === after) return []
  const moves = []
  if (order[before.status] === 2) moves.push(`changed after the end: ${then} → ${after}`)
  else if (order[now.status] < order[before.status]) moves.push(`went back: ${then} → ${after}`)
  if (now.revision <= before.revision) moves.push(`changed without a new revision: ${then} → ${after}`)
  if ((now.progress ?? 0) < (before.progress ?? 0)) moves.push(`lost progress: ${then} → ${after}`)
  return moves
}
