import { LRUCache } from 'lru-cache'
import type { TaskCount, TaskStore } from '../store/task-store.ts'

/** The tasks of one minute. `open`: at its end, or now in the present minute. */
export interface MinuteOfActivity {
  /** ms since the epoch */
  startsAt: number
  open: number
  completed: number
  failed: number
}

/** How many tasks there are, and what became of those of the last hour. */
export interface TaskActivity {
  open: number
  inFlight: number
  /** ms since the epoch; null if no task waits to be taken by the provider */
  oldestWaitingSince: number | null
  /** the oldest minute first, the present one last */
  history: MinuteOfActivity[]
}

const msPerMinute = 60_000
const minutes = 60
/** Five times as many as may be open by default. SQLite reads ten thousand in 20 ms, in which the instance does nothing else. */
const maxReadTasks = 50_000
/** However many callers ask, the store is asked this often. */
const maxAgeMs = 2_000

type Counts = Pick<TaskStore, 'countActivity' | 'now'>

/** The activity of all instances as one of them last read it. Callers that ask at the same time or shortly afterwards share one query. */
export class RecentActivity {
  #cache

  /** @param taskStore read at most once in `maxAgeMs` */
  constructor (taskStore: Counts) {
    this.#cache = new LRUCache<'all', TaskActivity>({ max: 1, ttl: maxAgeMs, fetchMethod: () => readActivity(taskStore) })
  }

  /** @throws StoreUnavailableError */
  async read (): Promise<TaskActivity> {
    return await this.#cache.forceFetch('all')
  }
}

async function readActivity (taskStore: Counts): Promise<TaskActivity> {
  const readAt = taskStore.now()
  const since = (Math.floor(readAt / msPerMinute) - minutes + 1) * msPerMinute
  return describeActivity(await taskStore.countActivity(since, maxReadTasks), readAt)
}

/** @param now ms since the epoch, when the tasks were counted */
export function describeActivity (counts: TaskCount[], now: number): TaskActivity {
  const presentMinute = Math.floor(now / msPerMinute)
  const open = counts.filter(({ endedMinute }) => endedMinute === null)
  const waiting = open.filter(({ state }) => state === 'queued' || state === 'submitting')
  return {
    open: sum(open),
    inFlight: sum(open) - sum(waiting),
    oldestWaitingSince: waiting.length === 0 ? null : Math.min(...waiting.map(({ oldestCreatedAt }) => oldestCreatedAt)),
    history: Array.from({ length: minutes }, (_, index) => describeMinute(counts, presentMinute - minutes + 1 + index, presentMinute))
  }
}

/** An instance may have a clock that is a little ahead: what it has stored belongs to the present minute at the latest. */
function describeMinute (counts: TaskCount[], minute: number, presentMinute: number): MinuteOfActivity {
  const within = (of: number | null) => of !== null && Math.min(of, presentMinute) === minute
  const isOpenAfter = ({ createdMinute, endedMinute }: TaskCount) => Math.min(createdMinute, presentMinute) <= minute && (endedMinute === null || Math.min(endedMinute, presentMinute) > minute)
  return {
    startsAt: minute * msPerMinute,
    open: sum(counts.filter(isOpenAfter)),
    completed: sum(counts.filter(({ state, endedMinute }) => state === 'completed' && within(endedMinute))),
    failed: sum(counts.filter(({ state, endedMinute }) => state === 'failed' && within(endedMinute)))
  }
}

function sum (counts: TaskCount[]): number {
  return counts.reduce((total, { tasks }) => total + tasks, 0)
}
