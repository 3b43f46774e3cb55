import { backoffDelay, wait, type BackoffOptions } from '../runtime/backoff.ts'
import { DownloadFailedError, VideoRefusedError } from './download-errors.ts'
import { discard, headerOf, refuse, type FileAnswer } from './provider-files.ts'

export interface ResumedFileOptions {
  /** requests the file with these headers; its errors are those of `ProviderFiles` */
  request: (headers: Record<string, string>) => Promise<FileAnswer>
  /** the media types that the server may declare */
  types: RegExp
  maxBytes: number
  signal: AbortSignal
  /** between a connection that broke and the next one */
  backoff: BackoffOptions
}

/** Requests in a row for the rest of a file, none of which brought a single byte. */
const maxResumes = 4

/** One file on another machine, read from its first byte to its last over any number of connections. */
export class ResumedFile {
  #options
  #received = 0
  /** null where the server does not give it */
  #bytes: number | null = null
  /** what identifies this version of the file */
  #validator: string | undefined
  #etag: string | undefined

  constructor (options: ResumedFileOptions) {
    this.#options = options
  }

  /** @throws VideoRefusedError, DownloadFailedError or the signal's reason */
  async * chunks (): AsyncGenerator<Uint8Array, void> {
    const { signal, backoff } = this.#options
    let answer: FileAnswer | undefined = await this.#start()
    for (let failures = 0; ;) {
      try {
        answer ??= await this.#resume()
        for await (const chunk of answer.body) {
          failures = 0
          yield this.#count(chunk)
        }
        if (this.#bytes === null || this.#received === this.#bytes) return
        throw new DownloadFailedError(`The file ended after ${this.#received} of ${this.#bytes} bytes`)
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof VideoRefusedError || error instanceof FileChangedError) throw error
        if (failures >= maxResumes) throw new DownloadFailedError('The file could not be read to its end', { cause: error })
        answer = undefined
        await wait(backoffDelay(failures++, backoff), signal)
      }
    }
  }

  async #start (): Promise<FileAnswer> {
    const answer = await this.#options.request({})
    if (answer.statusCode !== 200) return refuse(answer)
    const length = headerOf(answer, 'content-length')
    this.#bytes = length === undefined ? null : Number(length)
    this.#etag = headerOf(answer, 'etag')
    // A weak ETag does not say that the bytes are the same.
    this.#validator = this.#etag?.startsWith('"') ? this.#etag : headerOf(answer, 'last-modified')
    const fault = this.#faultOf(headerOf(answer, 'content-type'))
    if (fault === undefined) return answer
    discard(answer)
    throw fault
  }

  #faultOf (type: string | undefined): VideoRefusedError | undefined {
    const { types, maxBytes } = this.#options
    if (type !== undefined && !types.test(type)) return new VideoRefusedError('no_video', `The file is of the type ${type.slice(0, 100)}`)
    if ((this.#bytes ?? 0) > maxBytes) return new VideoRefusedError('too_large', `The file has ${this.#bytes} bytes`)
    return undefined
  }

  async #resume (): Promise<FileAnswer> {
    if (this.#received === 0) return await this.#start()
    const validator = this.#validator === undefined ? {} : { 'if-range': this.#validator }
    const answer = await this.#options.request({ range: `bytes=${this.#received}-`, ...validator })
    const { statusCode } = answer
    if (statusCode === 206 && this.#isRest(answer)) return answer
    if (statusCode !== 200 && statusCode !== 206 && statusCode !== 416) return refuse(answer)
    discard(answer)
    throw new FileChangedError('The file has changed, or its server gives no ranges')
  }

  #isRest (answer: FileAnswer): boolean {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headerOf(answer, 'content-range') ?? '')
    const [, first, total] = range ?? []
    const etag = headerOf(answer, 'etag')
    return Number(first) === this.#received &&
      (this.#bytes === null || total === '*' || Number(total) === this.#bytes) &&
      (this.#etag === undefined || etag === undefined || etag === this.#etag)
  }

  #count (chunk: Uint8Array): Uint8Array {
    const { maxBytes } = this.#options
    this.#received += chunk.length
    if (this.#received > maxBytes) throw new VideoRefusedError('too_large', `The file has more than ${maxBytes} bytes`)
    return chunk
  }
}

/** The rest of the file does not fit what was read of it, so it has to be read again from the start. */
class FileChangedError extends DownloadFailedError {}
