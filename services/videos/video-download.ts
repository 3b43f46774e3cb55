import type { Readable } from 'node:stream'
import type { BackoffOptions } from '../runtime/backoff.ts'
import { DownloadFailedError, VideoRefusedError } from './download-errors.ts'
import { guessImageFormat, type ImageFormat } from './image-format.ts'
import { discard, headerOf, ProviderFiles, refuse, type FileAnswer, type ProviderFilesOptions } from './provider-files.ts'
import { ResumedFile } from './resumed-file.ts'
import { guessContentType, signatureBytes } from './video-format.ts'

export interface VideoDownloaderOptions extends ProviderFilesOptions {
  /** of a video */
  maxBytes: number
  /** between a connection that broke and the next one for the rest of the file */
  resumeBackoff?: BackoffOptions | undefined
}

/** A file that is being downloaded. */
export interface Download {
  contentType: string
  /** can be read once */
  content: AsyncIterable<Uint8Array>
  /** Closes the connection. Has to be called, whether the content was read or not. */
  close: () => void
}

/** The provider's own answer to a request for a range of a video, or for all of it. */
export interface RangeAnswer {
  status: 200 | 206 | 416
  /** bytes of the body; undefined where the provider does not give it */
  contentLength: number | undefined
  contentRange: string | undefined
  /** The caller reads it or destroys it. It fails where the connection breaks. */
  body: Readable
}

const videoTypes = /^(video\/[\w.+-]+|(application|binary)\/octet-stream)(;|$)/i
const imageTypes = /^(image\/[\w.+-]+|(application|binary)\/octet-stream)(;|$)/i
const maxImageBytes = 5_000_000
const defaultBackoff = { firstMs: 500, maxMs: 5_000 }

/** Fetches videos and their thumbnails from the provider. */
export class VideoDownloader {
  #options
  #files

  constructor (options: VideoDownloaderOptions) {
    this.#options = options
    this.#files = new ProviderFiles(options)
  }

  /**
   * Requests a video and reads its first bytes. While `content` is read, a connection that breaks is replaced by another one for the
   * rest of the file.
   * @throws VideoRefusedError, DownloadFailedError or the signal's reason; `content` throws the same
   */
  async open (address: string, signal: AbortSignal): Promise<Download> {
    const over = this.#createController(signal)
    try {
      const chunks = this.#read(address, { types: videoTypes, maxBytes: this.#options.maxBytes, signal: over.signal })
      const head = await takeHead(chunks)
      const contentType = head.length < signatureBytes ? undefined : guessContentType(head)
      if (contentType === undefined) throw new VideoRefusedError('no_video', 'The first bytes of the file are not those of a video')
      return { contentType, content: prepend(head, chunks), close: over.abort }
    } catch (error) {
      over.abort()
      throw error
    }
  }

  /**
   * Requests a video once, to pass it through as it is.
   * @param range the header `Range` of a request for a single range, or nothing
   * @throws VideoRefusedError for a file that is gone, DownloadFailedError or the signal's reason
   */
  async openRange (address: string, range: string | undefined, signal: AbortSignal): Promise<RangeAnswer> {
    const answer = await this.#files.get(address, range === undefined ? {} : { range }, signal)
    const { statusCode: status, body } = answer
    if (status !== 200 && !(range !== undefined && (status === 206 || status === 416))) return refuse(answer)
    const type = headerOf(answer, 'content-type')
    if (status !== 416 && type !== undefined && !videoTypes.test(type)) {
      discard(answer)
      throw new DownloadFailedError(`The file is of the type ${type.slice(0, 100)}`)
    }
    const length = headerOf(answer, 'content-length')
    // Without this a connection that breaks before the caller listens would end the process.
    body.on('error', () => {})
    return { status, contentLength: length === undefined ? undefined : Number(length), contentRange: headerOf(answer, 'content-range'), body }
  }

  /**
   * Fetches an image of at most 5 MB.
   * @throws VideoRefusedError (`no_video`: it is no image that a browser shows), DownloadFailedError or the signal's reason
   */
  async fetchImage (address: string, signal: AbortSignal): Promise<ImageFormat & { content: Buffer }> {
    const over = this.#createController(signal)
    try {
      const chunks = []
      for await (const chunk of this.#read(address, { types: imageTypes, maxBytes: maxImageBytes, signal: over.signal })) chunks.push(chunk)
      const content = Buffer.concat(chunks)
      const format = guessImageFormat(content)
      if (format === undefined) throw new VideoRefusedError('no_video', 'The file is not an image that browsers show')
      return { ...format, content }
    } finally {
      over.abort()
    }
  }

  /** Ends the downloads that are under way with a DownloadFailedError. */
  close (): Promise<void> {
    return this.#files.close()
  }

  #read (address: string, { types, maxBytes, signal }: { types: RegExp, maxBytes: number, signal: AbortSignal }): AsyncGenerator<Uint8Array, void> {
    const request = (headers: Record<string, string>): Promise<FileAnswer> => this.#files.get(address, headers, signal)
    return new ResumedFile({ request, types, maxBytes, signal, backoff: this.#options.resumeBackoff ?? defaultBackoff }).chunks()
  }

  /** Makes a signal that is aborted by `abort`, with its parent or with the downloader. No listener stays afterwards. */
  #createController (parent: AbortSignal): { signal: AbortSignal, abort: () => void } {
    const controller = new AbortController()
    const parents = [parent, this.#files.closing]
    const abort = (): void => {
      for (const signal of parents) signal.removeEventListener('abort', abort)
      controller.abort(parents.find((signal) => signal.aborted)?.reason)
    }
    for (const signal of parents) signal.addEventListener('abort', abort)
    if (parents.some((signal) => signal.aborted)) abort()
    return { signal: controller.signal, abort }
  }
}

/** @returns the first bytes, as many as `signatureBytes` or more unless the file is shorter */
async function takeHead (chunks: AsyncGenerator<Uint8Array, void>): Promise<Buffer> {
  let head = Buffer.alloc(0)
  while (head.length < signatureBytes) {
    const { value, done } = await chunks.next()
    if (done === true) break
    head = Buffer.concat([head, value])
  }
  return head
}

async function * prepend (head: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield head
  yield * rest
}
