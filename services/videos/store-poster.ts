import { Readable } from 'node:stream'
import type { StoredFile, Task } from '../tasks/task.ts'
import { createArchiveName, type ArchiveExtension } from './archive-name.ts'
import { VideoRefusedError } from './download-errors.ts'
import type { FrameExtractor } from './frame-extractor.ts'
import type { VideoArchive } from './video-archive.ts'
import type { VideoDownloader } from './video-download.ts'

export interface Poster { name: string, file: StoredFile }

export interface StorePosterOptions {
  videoArchive: VideoArchive
  videoDownloader: Pick<VideoDownloader, 'fetchImage'>
  /** undefined: no frames of videos are taken */
  frameExtractor: Pick<FrameExtractor, 'extract'> | undefined
}

/** A larger video has no poster: the frame is taken from a temporary file, and containers have little room for those. */
const maxFramedBytes = 50_000_000

interface Picture { contentType: string, extension: ArchiveExtension, content: Buffer }

/**
 * Puts a picture of a stored video into the archive, under a new name: the one that the model made, or else a frame of the video.
 * @returns undefined if neither can be had
 * @throws DownloadFailedError or ArchiveUnavailableError, after which it may be tried again, or the signal's reason
 */
export async function storePoster (task: Task, options: StorePosterOptions, signal: AbortSignal): Promise<Poster | undefined> {
  const picture = await fetchPicture(task, options, signal) ?? await takeFrame(task, options, signal)
  if (picture === undefined) return undefined
  const { contentType, extension, content } = picture
  const name = createArchiveName(extension)
  const bytes = await options.videoArchive.store(name, Readable.from([content]), { contentType, signal })
  return { name, file: { contentType, bytes, storedAt: Date.now() } }
}

/** A picture that is gone, too large or no image is none. */
async function fetchPicture ({ posterSourceUrl }: Task, { videoDownloader }: StorePosterOptions, signal: AbortSignal): Promise<Picture | undefined> {
  if (posterSourceUrl === null) return undefined
  try {
    return await videoDownloader.fetchImage(posterSourceUrl, signal)
  } catch (error) {
    if (error instanceof VideoRefusedError) return undefined
    throw error
  }
}

async function takeFrame ({ videoName, videoFile }: Task, { videoArchive, frameExtractor }: StorePosterOptions, signal: AbortSignal): Promise<Picture | undefined> {
  if (frameExtractor === undefined || videoName === null || videoFile === null || videoFile.bytes > maxFramedBytes) return undefined
  const frame = await frameExtractor.extract({ ...videoFile, read: () => videoArchive.read(videoName) }, signal)
  return frame && { contentType: 'image/jpeg', extension: 'jpg', content: frame }
}
