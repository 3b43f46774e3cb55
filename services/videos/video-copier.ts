import { Semaphore } from '../runtime/semaphore.ts'
import type { StoredVideo } from '../tasks/task.ts'
import { videoCopied, type CopyOutcomeName } from '../telemetry/channels.ts'
import { DownloadFailedError, VideoRefusedError } from './download-errors.ts'
import { ArchiveUnavailableError, type ArchiveEntry, type ByteSpan, type VideoArchive } from './video-archive.ts'
import type { VideoDownloader } from './video-download.ts'
import { InspectionFailedError, VideoInspector } from './video-inspector.ts'

export interface VideoCopierOptions {
  archive: VideoArchive
  downloader: VideoDownloader
  /** how many videos are copied at once; the others wait */
  maxConcurrent: number
}

/** `unavailable`: the provider or the archive cannot do its part now, and copying again may succeed. */
export type CopyOutcome =
  | { outcome: 'stored', file: StoredVideo }
  | { outcome: 'refused', reason: VideoRefusedError['reason'], message: string }
  | { outcome: 'unavailable', error: Error }

/** Copies finished videos from the provider into the archive. */
export class VideoCopier {
  #archive
  #downloader
  #semaphore
  #inspector = new VideoInspector()

  constructor ({ archive, downloader, maxConcurrent }: VideoCopierOptions) {
    this.#archive = archive
    this.#downloader = downloader
    this.#semaphore = new Semaphore(maxConcurrent)
  }

  /**
   * Copies one video, and may be repeated under the same name after any interruption: what an earlier call has stored is not
   * downloaded again. Only a file that opens as a video stays in the archive.
   * @param name of the archive, for this video alone
   * @throws the signal's reason
   */
  async copy (sourceUrl: string, name: string, signal: AbortSignal): Promise<CopyOutcome> {
    return await this.#semaphore.run(signal, async () => {
      const startedAt = performance.now()
      const published = { outcome: 'interrupted' as CopyOutcomeName, bytes: 0 }
      try {
        const present = await this.#findStored(name, signal)
        const file = present ?? await this.#download(sourceUrl, name, signal)
        if (present === undefined) published.bytes = file.bytes
        signal.throwIfAborted()
        published.outcome = present === undefined ? 'stored' : 'present'
        return { outcome: 'stored', file }
      } catch (error) {
        signal.throwIfAborted()
        const failure = failureOf(error)
        published.outcome = failure.outcome === 'refused' ? failure.reason : 'unavailable'
        return failure
      } finally {
        if (videoCopied.hasSubscribers) videoCopied.publish({ ...published, ms: performance.now() - startedAt })
      }
    })
  }

  async #findStored (name: string, signal: AbortSignal): Promise<StoredVideo | undefined> {
    const entry = await this.#archive.find(name)
    return entry && await this.#inspect(entry, signal)
  }

  async #download (sourceUrl: string, name: string, signal: AbortSignal): Promise<StoredVideo> {
    const { contentType, content, close } = await this.#downloader.open(sourceUrl, signal)
    try {
      const bytes = await this.#archive.store(name, content, { contentType, signal })
      const file = await this.#inspect({ name, bytes, modifiedAt: Date.now() }, signal)
      if (file !== undefined) return file
      await this.#archive.remove(name)
      throw new VideoRefusedError('no_video', 'The file cannot be opened as a video')
    } finally {
      close()
    }
  }

  async #inspect ({ name, bytes, modifiedAt }: ArchiveEntry, signal: AbortSignal): Promise<StoredVideo | undefined> {
    const format = await this.#inspector.inspect({ bytes, read: (span) => this.#read(name, span) }, signal)
    return format && { ...format, bytes, storedAt: modifiedAt }
  }

  async #read (name: string, span: ByteSpan) {
    const content = await this.#archive.read(name, span)
    if (content === undefined) throw new ArchiveUnavailableError(new Error('The video was removed while it was inspected'))
    return content
  }
}

/** @throws an error that neither the provider nor the archive has caused */
function failureOf (error: unknown): CopyOutcome {
  if (error instanceof VideoRefusedError) return { outcome: 'refused', reason: error.reason, message: error.message }
  const isTemporary = error instanceof DownloadFailedError || error instanceof ArchiveUnavailableError || error instanceof InspectionFailedError
  if (isTemporary) return { outcome: 'unavailable', error }
  throw error
}
