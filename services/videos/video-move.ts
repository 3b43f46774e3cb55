import { existsSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { StartError } from '../runtime/start-error.ts'
import type { Task } from '../tasks/task.ts'
import { contentTypeOf, ownerFile } from './archive-name.ts'
import { FolderArchive } from './folder-archive.ts'
import type { S3ArchiveOptions } from './s3-archive.ts'
import { transferFile, type ArchiveFile, type TransferResult } from './transfer-file.ts'
import type { VideoArchive } from './video-archive.ts'

export interface VideoMoveOptions {
  /** the DATA_DIR that the tasks are moved from */
  dataDir: string
  /** where the instances find the videos afterwards: a bucket, or the folder `videos` of another DATA_DIR or of the same one */
  target: { s3: S3ArchiveOptions } | { dataDir: string }
  /** the ids of the stores that the tasks are moved from and to */
  storeIds: { from: string, to: string }
  /** called every few seconds while files are copied */
  onProgress: (copied: CopiedVideos) => void
}

/** How many files were copied, how many were there before, and the names of stored files that are in neither archive. */
export interface CopiedVideos { copied: number, bytes: number, present: number, missing: string[] }

/** For a bucket, whose answers take longer than the copy of a small file. */
const atOnce = 4
const progressIntervalMs = 5_000

/**
 * The videos of tasks that move to another store. Until `finish` the new archive carries the mark of the old store. So an instance that
 * runs on the new store already does not take for orphans the files whose tasks are not there yet.
 */
export class VideoMove {
  #options
  #source
  #target
  /** so far */
  readonly copied: CopiedVideos = { copied: 0, bytes: 0, present: 0, missing: [] }
  #reportedAt = performance.now()

  private constructor (options: VideoMoveOptions, source: VideoArchive, target: VideoArchive) {
    this.#options = options
    this.#source = source
    this.#target = target
  }

  /** @throws StartError if the new archive cannot be written to or belongs to another database, ArchiveUnavailableError */
  static async begin (options: VideoMoveOptions): Promise<VideoMove> {
    const { dataDir, target, storeIds } = options
    const archive = await openTarget(target)
    await archive.assertUsable()
    const owner = await archive.readOwner()
    if (owner !== undefined && owner !== storeIds.from && owner !== storeIds.to) {
      throw new StartError(`The archive that the videos are moved to belongs to another database. If that is not in use, delete ${ownerFile} in the archive and run this again`)
    }
    await archive.writeOwner(storeIds.from)
    const folder = join(dataDir, 'videos')
    const isSame = 'dataDir' in target && existsSync(folder) && realpathSync(join(target.dataDir, 'videos')) === realpathSync(folder)
    return new VideoMove(options, isSame || !existsSync(folder) ? archive : new FolderArchive(folder), archive)
  }

  /** Copies the files of these tasks that are not there yet. @throws ArchiveUnavailableError */
  async copy (tasks: Task[]): Promise<void> {
    const { signal } = new AbortController()
    const files = tasks.flatMap(filesOf)
    await Promise.all(Array.from({ length: atOnce }, async () => {
      for (let file = files.shift(); file !== undefined; file = files.shift()) {
        this.#count(file, await transferFile(file, this.#source, this.#target, signal))
      }
    }))
  }

  /** Call it when all tasks are in the new store: the archive belongs to that store from now on. @throws ArchiveUnavailableError */
  async finish (): Promise<void> {
    await this.#target.writeOwner(this.#options.storeIds.to)
  }

  close (): void {
    this.#target.close()
  }

  #count ({ name, isStored }: MovedFile, { outcome, bytes }: TransferResult): void {
    if (outcome === 'missing') {
      if (isStored) this.copied.missing.push(name)
      return
    }
    this.copied[outcome]++
    if (outcome === 'copied') this.copied.bytes += bytes
    if (performance.now() - this.#reportedAt < progressIntervalMs) return
    this.#reportedAt = performance.now()
    this.#options.onProgress(this.copied)
  }
}

async function openTarget (target: VideoMoveOptions['target']): Promise<VideoArchive> {
  if ('dataDir' in target) return new FolderArchive(join(target.dataDir, 'videos'))
  const { S3Archive } = await import('./s3-archive.ts')
  return new S3Archive(target.s3)
}

interface MovedFile extends ArchiveFile {
  /** whether the archive must have the file */
  isStored: boolean
}

/** The files of a task. That of a copy which was under way can be complete although its task does not say so. */
function filesOf (task: Task): MovedFile[] {
  if (task.state !== 'storing' && task.state !== 'completed') return []
  const { videoName, videoFile, posterName, posterFile } = task
  return [{ name: videoName, file: videoFile }, { name: posterName, file: posterFile }].flatMap(({ name, file }) => (
    name === null ? [] : [{ name, contentType: file?.contentType ?? contentTypeOf(name), isStored: file !== null }]
  ))
}
