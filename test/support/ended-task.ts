import { randomBytes } from 'node:crypto'
import type { TaskStore } from '../../services/store/task-store.ts'
import { newTask, type Task } from '../../services/tasks/task.ts'
import { createArchiveName, type ArchiveExtension } from '../../services/videos/archive-name.ts'
import type { VideoArchive } from '../../services/videos/video-archive.ts'
import { storeTask } from './store-task.ts'

const minute = 60_000
export const hour = 60 * minute

export interface EndedTaskOptions {
  /** ms since it ended; its deadline was a minute later */
  endedAgo?: number
  callbackUrl?: string
}

/** A completed task of an earlier time, with its video and its poster in the archive. */
export async function createEndedTask (taskStore: TaskStore, videoArchive: VideoArchive, { endedAgo = hour, callbackUrl }: EndedTaskOptions = {}): Promise<Task> {
  const endedAt = taskStore.now() - endedAgo
  const stored = { bytes: 10, storedAt: endedAt }
  const [videoName, posterName] = await Promise.all([storeFile(videoArchive, 'mp4'), storeFile(videoArchive, 'jpg')])
  return await storeTask(taskStore, {
    ...newTask('A whale in the clouds', 'Animated', 120, endedAt - minute, { callbackUrl: callbackUrl ?? null }),
    state: 'completed',
    updatedAt: endedAt,
    sourceUrl: 'https://replicate.delivery/x/out.mp4',
    videoName,
    videoFile: { ...stored, contentType: 'video/mp4', seconds: 1, width: 64, height: 64 },
    posterName,
    posterFile: { ...stored, contentType: 'image/jpeg' }
  })
}

/** Stores a file, by default of ten random bytes. @returns its name */
export async function storeFile (videoArchive: VideoArchive, extension: ArchiveExtension, name = createArchiveName(extension), bytes: Buffer = randomBytes(10)): Promise<string> {
  async function * content () { yield bytes }
  await videoArchive.store(name, content(), { contentType: extension === 'mp4' ? 'video/mp4' : 'image/jpeg', signal: new AbortController().signal })
  return name
}
