import type { TaskView } from '../services/tasks/task-view.ts'

/** A task whose id a client has read from a 200, and what the clients have seen of it since. */
export interface AcceptedTask {
  readonly id: string
  /** of the dream */
  readonly key: string
  /** its `callback_url` */
  readonly address: string | undefined
  last: TaskView | undefined
  isLost: boolean
  /** A sentence for each change that must not happen. */
  readonly violations: string[]
}

const order = { pending: 0, processing: 1, completed: 2, failed: 2 }

/** What the clients sent and received. A dream is known by the key at its beginning: `[dream u17]`. */
export class Observations {
  readonly tasks = new Map<string, AcceptedTask>()
  /** How many creates of each dream may have arrived, with or without an answer; by the key of the dream. */
  readonly creates = new Map<string, number>()
  /** The key of the dream that was posted with this `callback_url`. */
  readonly addresses = new Map<string, string>()
  /** How often the service gave an answer that it must not give, by method and status. */
  readonly unexpectedAnswers = new Map<string, number>()

  /** @param address no two creates have the same */
  recordCreate (key: string, address: string | undefined): void {
    this.creates.set(key, (this.creates.get(key) ?? 0) + 1)
    if (address !== undefined) this.addresses.set(address, key)
  }

  recordAccepted (key: string, id: string, address: string | undefined): AcceptedTask {
    const task = { id, key, address, last: undefined, isLost: false, violations: [] }
    this.tasks.set(id, task)
    return task
  }

  /** An accepted task has to exist at every moment, not only at the end. */
  recordMissing (task: AcceptedTask): void {
    task.isLost = true
  }

  recordStatus (task: AcceptedTask, answer: TaskView): void {
    const before = task.last
    const now = withoutOrigins(answer)
    task.last = now
    if (before !== undefined) task.violations.push(...forbiddenChanges(before, now))
  }

  recordUnexpected (answer: string): void {
    this.unexpectedAnswers.set(answer, (this.unexpectedAnswers.get(answer) ?? 0) + 1)
  }

  get open (): AcceptedTask[] {
    return [...this.tasks.values()].filter((task) => !hasEnded(task) && !task.isLost)
  }
}

export function hasEnded ({ last }: AcceptedTask): boolean {
  return last?.status === 'completed' || last?.status === 'failed'
}

/** The key of a dream, also if the dream is part of a prompt. */
export function findKey (text: unknown): string | undefined {
  return /\[dream (\w+)\]/.exec(String(text))?.[1]
}

/** As `findKey`, with one key for all dreams that have none. */
export function dreamKey (text: unknown): string {
  return findKey(text) ?? 'a dream without a key'
}

/** Each instance begins the addresses of files with its own. */
export function withoutOrigins (task: TaskView): TaskView {
  return { ...task, video_url: pathOf(task.video_url), poster_url: pathOf(task.poster_url) }
}

/** A poster may be added after the end, and nothing else may change then. */
export function withoutPoster (task: TaskView): Partial<TaskView> {
  const { poster_url: poster, revision, updated_at: updatedAt, expires_at: expiresAt, ...rest } = task
  return rest
}

function pathOf (address: string | null): string | null {
  return address && (URL.parse(address)?.pathname ?? address)
}

function isPosterAdded (before: TaskView, now: TaskView): boolean {
  return before.status === 'completed' && before.poster_url === null && now.poster_url !== null &&
    JSON.stringify(withoutPoster(before)) === JSON.stringify(withoutPoster(now))
}

function forbiddenChanges (before: TaskView, now: TaskView): string[] {
  const [then, after] = [JSON.stringify(before), JSON.stringify(now)]
  if (then === after) return []
  const changes = []
  if (order[before.status] === 2 && !isPosterAdded(before, now)) changes.push(`changed after its end: ${then} → ${after}`)
  else if (order[now.status] < order[before.status]) changes.push(`went back: ${then} → ${after}`)
  if (now.revision <= before.revision) changes.push(`changed without a new revision: ${then} → ${after}`)
  if ((now.progress ?? 0) < (before.progress ?? 0)) changes.push(`lost progress: ${then} → ${after}`)
  return changes
}
