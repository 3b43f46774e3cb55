import { isOpen, type Task } from '../tasks/task.ts'

/** The start tags of the open tasks at the moment when a store inserts new ones. Null: there is no such task. */
export interface OpenTags {
  /** the highest tag of a task that has been submitted and has not ended */
  highestSubmitted: number | null
  /** the lowest tag of a task that is queued */
  lowestQueued: number | null
  /** the highest tag of the open tasks of each API key, by its name; that of tasks without a key by null */
  highestOfKey: ReadonlyMap<string | null, number>
}

/**
 * Gives new tasks their start tags, by start-time fair queueing: each API key is a flow, and so are all tasks without a key. A task
 * comes one place after the last open task of its key, but never before the place that the queue has reached, its virtual time. So a
 * key that was quiet has its turn at once, and keys that always have tasks take turns.
 * @param tasks in the order of their arrival. Those that are being worked on get the virtual time, and those that have ended stay as
 * they are: only an import has such tasks
 */
export function assignStartTags (tasks: readonly Task[], tags: OpenTags): Task[] {
  const virtualTime = virtualTimeOf(tags)
  const highest = new Map(tags.highestOfKey)
  return tasks.map((task) => {
    if (!isOpen(task)) return task
    if (task.state !== 'queued') return { ...task, startTag: virtualTime }
    const startTag = Math.max(virtualTime, (highest.get(task.keyName) ?? -1) + 1)
    highest.set(task.keyName, startTag)
    return { ...task, startTag }
  })
}

/**
 * The place that the queue has reached. Tasks are submitted in the order of their tags, so these two values hardly differ. They do if a
 * task waits for long although it has a low tag, because Replicate refuses its model, or if all tasks that were submitted have ended.
 */
function virtualTimeOf ({ highestSubmitted, lowestQueued }: OpenTags): number {
  return Math.max(highestSubmitted ?? 0, lowestQueued ?? 0)
}
