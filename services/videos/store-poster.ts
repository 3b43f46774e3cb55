import { Readable } from 'node:stream'
import type { StoredFile } from '../tasks/task.ts'
import { createArchiveName } from './archive-name.ts'
import { VideoRefusedError } from './download-errors.ts'
import type { VideoArchive } from './video-archive.ts'
import type { VideoDownloader } from './video-download.ts'

export interface Poster { name: string, file: StoredFile }

export interface StorePosterOptions {
  videoArchive: VideoArchive
  videoDownloader: Pick<VideoDownloader, 'fetchImage'>
}

/**
 * Copies the picture that a model made of its video into the archive, under a new name.
 * @param sourceUrl the provider's address of the picture
 * @returns undefined if the picture is gone, too large or no image
 * @throws DownloadFailedError or ArchiveUnavailableError, after which it may be tried again, or the signal's reason
 */
export async function storePoster (sourceUrl: string, { videoArchive, videoDownloader }: StorePosterOptions, signal: AbortSignal): Promise<Poster | undefined> {
  try {
    const { contentType, extension, content } = await videoDownloader.fetchImage(sourceUrl, signal)
    const name = createArchiveName(extension)
    const bytes = await videoArchive.store(name, Readable.from([content]), { contentType, signal })
    return { name, file: { contentType, bytes, storedAt: Date.now() } }
  } catch (error) {
    if (error instanceof VideoRefusedError) return undefined
    throw error
  }
}
