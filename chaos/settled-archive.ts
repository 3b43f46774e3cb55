import { setTimeout as delay } from 'node:timers/promises'
import type { TaskView } from '../services/tasks/task-view.ts'
import type { ArchiveUnderTest } from './archive-under-test.ts'
import { readVideos } from './served-files.ts'
import { fileName, namedFiles } from './video-verdict.ts'

/** The archive and all tasks of the service at about the same time. */
export interface ArchiveState {
  tasks: TaskView[]
  files: string[]
  /** empty where they need not go */
  unfinished: string[]
}

export interface SettleOptions {
  archive: ArchiveUnderTest
  /** whether unfinished writes have to go; several instances leave each other's for a day */
  withoutUnfinished: boolean
  urls: readonly string[]
  /** @returns undefined if the service does not answer */
  listTasks: () => Promise<TaskView[] | undefined>
  /** how long it may take (ms) */
  maxMs: number
  stop: AbortSignal
}

const intervalMs = 500

/**
 * Waits until the archive has the video of each completed task, except for those that the service says are gone, and nothing else.
 * @returns the last state, whether it is settled or not; undefined if the service does not answer
 */
export async function settleArchive ({ archive, withoutUnfinished, urls, listTasks, maxMs, stop }: SettleOptions): Promise<ArchiveState | undefined> {
  for (const deadline = Date.now() + maxMs; ; await delay(intervalMs, undefined, { signal: stop })) {
    const tasks = await listTasks()
    const state = tasks && { tasks, files: await archive.listFiles(), unfinished: withoutUnfinished ? await archive.listUnfinished() : [] }
    if (Date.now() > deadline || (state !== undefined && await isSettled(state, urls))) return state
  }
}

async function isSettled ({ tasks, files, unfinished }: ArchiveState, urls: readonly string[]): Promise<boolean> {
  const named = namedFiles(tasks)
  if (unfinished.length > 0 || files.some((name) => !named.has(name))) return false
  const missing = tasks.filter(({ status, video_url: address }) => status === 'completed' && !files.includes(fileName(address) ?? ''))
  const served = await readVideos(missing, urls)
  return missing.every(({ task_id: id }) => served.get(id)?.status === 410)
}
