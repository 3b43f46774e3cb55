import { wait } from '../runtime/backoff.ts'
import type { Log } from '../runtime/log.ts'
import type { TaskStore } from '../store/task-store.ts'
import { thingsRemoved } from '../telemetry/channels.ts'
import type { ArchiveEntry, VideoArchive } from '../videos/video-archive.ts'
import { checkArchiveOwner, type ArchiveOwnership } from './archive-owner.ts'

export interface OrphanSweepOptions {
  taskStore: TaskStore
  videoArchive: VideoArchive
  /** ms since it was written for which a file is left alone */
  minAgeMs: number
  /** asked before each step: false ends the work, which another instance does then */
  mayContinue: () => Promise<boolean>
  log: Log
  /** aborted when the instance stops */
  signal: AbortSignal
}

/** A step is one query. Pauses leave time for other work. */
const stepSize = 200
const pauseMs = 20
/** No copy of a video takes longer, because the provider deletes its files after an hour. */
const maxWriteMs = 24 * 60 * 60 * 1000

/**
 * Removes the files of the archive that no task names, and what interrupted writes have left there. A file that is being written is
 * left alone: the name of a video is stored in its task before the first byte is written, and the age protects a poster, whose name
 * is stored after it was written.
 * @returns whose archive it is: nothing is removed unless it is `own`
 * @throws ArchiveUnavailableError or StoreUnavailableError, or the signal's reason; a file whose name was not looked up is not removed
 */
export async function sweepOrphans (options: OrphanSweepOptions): Promise<ArchiveOwnership> {
  const { taskStore, videoArchive, minAgeMs, mayContinue, log, signal } = options
  let ownership = await checkArchiveOwner(options)
  if (ownership !== 'own') return ownership
  const before = minAgeMs === 0 ? Infinity : taskStore.now() - minAgeMs
  for await (const files of stepsOf(videoArchive.list(), before)) {
    if (!await mayContinue()) return ownership
    const names = await taskStore.filterFileNames(files.map(({ name }) => name))
    const orphans = files.filter(({ name }) => !names.has(name))
    if (orphans.length > 0) {
      // Checked before each removal of files, because a move to another database changes the owner.
      ownership = await checkArchiveOwner(options)
      if (ownership !== 'own') return ownership
      await removeAll(orphans, options)
    }
    await wait(pauseMs, signal)
  }
  // Other instances may be writing, unless the store is for this process alone.
  const unfinished = await videoArchive.removeUnfinished(taskStore.isExclusive ? Infinity : taskStore.now() - Math.max(minAgeMs, maxWriteMs))
  if (unfinished > 0) log.info({ files: unfinished }, 'Interrupted writes to the video archive removed')
  if (unfinished > 0 && thingsRemoved.hasSubscribers) thingsRemoved.publish({ kind: 'unfinished_write', count: unfinished })
  return ownership
}

async function removeAll (orphans: ArchiveEntry[], { videoArchive, log, signal }: OrphanSweepOptions): Promise<void> {
  const removed = { files: 0, bytes: 0 }
  try {
    for (const { name, bytes } of orphans) {
      signal.throwIfAborted()
      await videoArchive.remove(name)
      removed.files++
      removed.bytes += bytes
    }
  } finally {
    if (removed.files > 0) log.info(removed, 'Orphans removed from the video archive: files that no task names')
    if (removed.files > 0 && thingsRemoved.hasSubscribers) thingsRemoved.publish({ kind: 'orphan_file', count: removed.files })
  }
}

/** Groups files, without those that were written at `before` (ms since the epoch) or later. */
async function * stepsOf (files: AsyncIterable<ArchiveEntry>, before: number): AsyncGenerator<ArchiveEntry[]> {
  let step: ArchiveEntry[] = []
  for await (const file of files) {
    if (file.modifiedAt >= before) continue
    step.push(file)
    if (step.length < stepSize) continue
    yield step
    step = []
  }
  if (step.length > 0) yield step
}
