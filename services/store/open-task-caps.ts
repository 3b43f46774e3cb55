/** How many tasks may be open at a time after a creation; null: no cap. */
export interface OpenTaskCaps {
  /** of the API key that creates the task, or of all callers without a key */
  readonly ofKey: number | null
  /** of all keys, and of callers without a key, together */
  readonly inAll: number | null
}

export const noCaps: OpenTaskCaps = { ofKey: null, inAll: null }

/** A task was not created, and nothing of the request was stored. `of` says whose cap is reached. */
export interface TooManyOpenTasks { outcome: 'too_many_open_tasks', of: 'key' | 'all' }

/** How many tasks are open at the moment. */
export interface OpenTaskCounts { ofKey: number, inAll: number }

/** @returns undefined if one more task may be created */
export function findReachedCap (caps: OpenTaskCaps, { ofKey, inAll }: OpenTaskCounts): TooManyOpenTasks | undefined {
  if (caps.ofKey !== null && ofKey >= caps.ofKey) return { outcome: 'too_many_open_tasks', of: 'key' }
  if (caps.inAll !== null && inAll >= caps.inAll) return { outcome: 'too_many_open_tasks', of: 'all' }
  return undefined
}
