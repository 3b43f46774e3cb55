import { wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { TaskStore } from '../store/task-store.ts'
import type { Task } from '../tasks/task.ts'
import { thingsRemoved } from '../telemetry/channels.ts'
import type { VideoArchive } from '../videos/video-archive.ts'
import { deleteVideo } from './delete-video.ts'

export interface RemoveExpiredOptions {
  taskStore: TaskStore
  videoArchive: VideoArchive
  /** ms from the end of a task to its removal */
  retentionMs: number
  /** asked before each step: false ends the work, which another instance does then */
  mayContinue: () => Promise<boolean>
  log: Log
  /** aborted when the instance stops */
  signal: AbortSignal
}

/** A step is one query. Pauses leave time for other work, and the number of steps leaves time for the orphan sweep. */
const stepSize = 100
const maxSteps = 100
const pauseMs = 100
/** Few enough to leave database connections for requests. If none of these can be removed, the rest is not tried. */
const atOnce = 4

/**
 * Removes expired tasks with their videos and posters, the longest ended first. What cannot be removed now is removed when this is
 * called again.
 * @throws ArchiveUnavailableError or StoreUnavailableError if a task could not be removed, after removing others; or the signal's reason
 */
export async function removeExpired (options: RemoveExpiredOptions): Promise<void> {
  const { taskStore, retentionMs, mayContinue, log, signal } = options
  let failure: unknown
  for (let step = 0; step < maxSteps && await mayContinue(); step++) {
    const tasks = await taskStore.listExpired(retentionMs, stepSize)
    const { removed, failures } = await removeAll(tasks, options)
    if (removed > 0) log.info({ tasks: removed }, 'Expired tasks removed, with their videos')
    if (removed > 0 && thingsRemoved.hasSubscribers) thingsRemoved.publish({ kind: 'expired_task', count: removed })
    if (failures.length > 0) failure = failures[0]
    if (tasks.length < stepSize || removed === 0) break
    await wait(pauseMs, signal)
  }
  if (failure !== undefined) throw failure
}

async function removeAll (tasks: Task[], options: RemoveExpiredOptions): Promise<{ removed: number, failures: unknown[] }> {
  const failures: unknown[] = []
  let removed = 0
  for (let start = 0; start < tasks.length && !options.signal.aborted; start += atOnce) {
    const results = await Promise.allSettled(tasks.slice(start, start + atOnce).map((task) => deleteVideo(task, options)))
    const failed = results.filter((result) => result.status === 'rejected')
    failures.push(...failed.map(({ reason }) => reason))
    removed += results.length - failed.length
    if (failed.length === results.length) break
  }
  return { removed, failures }
}
