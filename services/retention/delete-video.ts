import type { TaskStore } from '../store/task-store.ts'
import type { Task } from '../tasks/task.ts'
import type { VideoArchive } from '../videos/video-archive.ts'

/**
 * Deletes a task that has ended: its files in the archive first, its record last. After a failure or a crash in between the record is
 * still there, so that calling this again deletes the rest. A file that is stored meanwhile is found by the sweep for orphans.
 * @returns false if the task was gone already
 * @throws ArchiveUnavailableError or StoreUnavailableError; the record is kept then
 */
export async function deleteVideo (task: Task, { taskStore, videoArchive }: { taskStore: TaskStore, videoArchive: VideoArchive }): Promise<boolean> {
  let latest: Task | undefined = task
  while (latest !== undefined) {
    for (const name of [latest.videoName, latest.posterName]) if (name !== null) await videoArchive.remove(name)
    if (await taskStore.remove(latest)) return true
    // It is gone, or its video or its poster has been recorded since it was read.
    latest = await taskStore.get(task.id)
  }
  return false
}
