import type { TaskStore } from '../store/task-store.ts'
import type { VideoArchive } from '../videos/video-archive.ts'

/** `new`: it had no mark and has one now. `foreign`: it is marked by another store. */
export type ArchiveOwnership = 'own' | 'new' | 'foreign'

/**
 * Whether the files of the archive belong to the tasks of this store. An archive without a mark is marked. Two stores that mark an
 * archive at the same time both see `new`; when they look again, one of them sees `foreign`.
 * @throws ArchiveUnavailableError or StoreUnavailableError
 */
export async function checkArchiveOwner ({ taskStore, videoArchive }: { taskStore: TaskStore, videoArchive: VideoArchive }): Promise<ArchiveOwnership> {
  const storeId = await taskStore.readId()
  const owner = await videoArchive.readOwner()
  if (owner !== undefined) return owner === storeId ? 'own' : 'foreign'
  await videoArchive.writeOwner(storeId)
  return 'new'
}
