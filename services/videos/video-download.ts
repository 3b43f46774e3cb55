import type { LookupFunction } from 'node:net'
import { Agent, type Dispatcher } from 'undici'
import { createGuardedConnector } from '../net/guarded-connector.ts'
import { HostResolver } from '../net/host-resolver.ts'
import { backoffDelay, wait } from '../runtime/backoff.ts'
import { guessContentType, signatureBytes } from './video-format.ts'

export interface VideoDownloaderOptions {
  /** whether the provider's files are at this address; nothing else is fetched, also not by a redirect */
  isTrusted: (url: URL) => boolean
  /** what is sent along, such as a token for its own host */
  headersFor: (url: URL) => Record<string, string>
  /** whether files may be on this machine or in its networks, as those of an emulator are */
  allowPrivate: boolean
  /** replaces the built-in resolution of names */
  lookup?: LookupFunction | undefined
  maxBytes: number
  /** ms to connect, to the head of an answer, and between two parts of a body */
  idleTimeoutMs: number
}

/** A file that is being downloaded. */
export interface Download {
  contentType: string
  /** can be read once */
  content: AsyncIterable<Uint8Array>
  /** Closes the connection. Has to be called, whether the content was read or not. */
  close: () => void
}

/** The file cannot be had, and asking again is no use. */
export class VideoRefusedError extends Error {
  override name = 'VideoRefusedError'
  /** `gone`: it was deleted. `no_video`: it is something else. `too_large`: it is larger than `maxBytes`. */
  readonly reason

  constructor (reason: 'gone' | 'no_video' | 'too_large', message: string) {
    super(message)
    this.reason = reason
  }
}

/** The download broke off, and may succeed when it is made again. */
export class DownloadFailedError extends Error {
  override name = 'DownloadFailedError'
}

const maxRedirects = 3
/** Tries in a row of getting the rest of a file, none of which brought a single byte. */
const maxResumes = 4
const resumeBackoff = { firstMs: 500, maxMs: 5_000 }
const videoTypes = /^(video\/[\w.+-]+|(application|binary)\/octet-stream)(;|$)/i

/** Fetches files from the provider, a chunk at a time. */
export class VideoDownloader {
  #options
  #agent
  #closing = new AbortController()

  constructor (options: VideoDownloaderOptions) {
    this.#options = options
    const { allowPrivate, idleTimeoutMs } = options
    const lookup = options.lookup ?? new HostResolver({ allowPrivate }).createLookup(this.#closing.signal)
    const connect = createGuardedConnector({ allowPrivate, timeoutMs: idleTimeoutMs, lookup })
    this.#agent = new Agent({ connect, headersTimeout: idleTimeoutMs, bodyTimeout: idleTimeoutMs, pipelining: 0 })
  }

  /**
   * Requests a file and reads its first bytes. While `content` is read, a connection that breaks is replaced by another one for the
   * rest of the file.
   * @throws VideoRefusedError, DownloadFailedError or the signal's reason; `content` throws the same
   */
  async open (address: string, signal: AbortSignal): Promise<Download> {
    const over = createLinkedController(signal)
    const file = new RemoteFile(address, (url, headers) => this.#request(url, headers, over.signal), this.#options.maxBytes)
    try {
      const chunks = file.chunks(over.signal)
      const head = await takeHead(chunks)
      const contentType = head.length < signatureBytes ? undefined : guessContentType(head)
      if (contentType === undefined) throw new VideoRefusedError('no_video', 'The first bytes of the file are not those of a video')
      return { contentType, content: prepend(head, chunks), close: over.abort }
    } catch (error) {
      over.abort()
      throw error
    }
  }

  /** Ends the downloads that are under way. */
  close (): Promise<void> {
    this.#closing.abort()
    return this.#agent.destroy()
  }

  async #request (address: string, headers: Record<string, string>, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    let url = new URL(address)
    for (let redirects = 0; ; redirects++) {
      if (!this.#options.isTrusted(url)) throw new DownloadFailedError(`Files are not fetched from ${url.host}`)
      const answer = await this.#agent.request({
        origin: url.origin, path: url.pathname + url.search, method: 'GET', headers: { ...headers, ...this.#options.headersFor(url) }, signal
      }).catch((error: unknown) => {
        signal.throwIfAborted()
        throw new DownloadFailedError('The file could not be asked for', { cause: error })
      })
      const location = answer.statusCode >= 300 && answer.statusCode < 400 ? headerOf(answer, 'location') : undefined
      if (location === undefined) return answer
      await discard(answer)
      const next = URL.parse(location, url.href)
      if (next === null || redirects === maxRedirects) throw new DownloadFailedError('The redirects of the file cannot be followed')
      url = next
    }
  }
}

/** Makes a signal that is aborted with its parent, or by `abort`, after which the parent does not know it any more. */
function createLinkedController (parent: AbortSignal): { signal: AbortSignal, abort: () => void } {
  const controller = new AbortController()
  const abort = (): void => {
    parent.removeEventListener('abort', abort)
    controller.abort(parent.aborted ? parent.reason : new Error('The download was given up'))
  }
  parent.addEventListener('abort', abort)
  if (parent.aborted) abort()
  return { signal: controller.signal, abort }
}

type Request = (address: string, headers: Record<string, string>) => Promise<Dispatcher.ResponseData>

/** One file on another machine, read from its first byte to its last over as many connections as that takes. */
class RemoteFile {
  #address
  #request
  #maxBytes
  #received = 0
  /** null where the server does not say it */
  #bytes: number | null = null
  #etag: string | undefined

  constructor (address: string, request: Request, maxBytes: number) {
    this.#address = address
    this.#request = request
    this.#maxBytes = maxBytes
  }

  async * chunks (signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    let body = await this.#start()
    for (let failures = 0; ;) {
      try {
        for await (const chunk of body) {
          failures = 0
          yield this.#count(chunk)
        }
        if (this.#bytes === null || this.#received >= this.#bytes) return
        throw new DownloadFailedError(`The file ended after ${this.#received} of ${this.#bytes} bytes`)
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof VideoRefusedError) throw error
        if (failures++ >= maxResumes) throw new DownloadFailedError('The file could not be read to its end', { cause: error })
        await wait(backoffDelay(failures, resumeBackoff), signal)
        body = await this.#resume(body, signal)
      }
    }
  }

  async #start (): Promise<Dispatcher.ResponseData['body']> {
    const answer = await this.#request(this.#address, {})
    const { statusCode, body } = answer
    if (statusCode !== 200) return await refuse(answer)
    const type = headerOf(answer, 'content-type')
    this.#etag = headerOf(answer, 'etag')
    const length = headerOf(answer, 'content-length')
    this.#bytes = length === undefined ? null : Number(length)
    const fault = this.#faultOf(type)
    if (fault !== undefined) {
      await discard(answer)
      throw fault
    }
    return body
  }

  #faultOf (type: string | undefined): VideoRefusedError | undefined {
    if (type !== undefined && !videoTypes.test(type)) return new VideoRefusedError('no_video', `The file is of the type ${type.slice(0, 100)}`)
    if ((this.#bytes ?? 0) > this.#maxBytes) return new VideoRefusedError('too_large', `The file has ${this.#bytes} bytes`)
    return undefined
  }

  /** @param broken what was read so far; returned again where the rest cannot be had at the moment, so that reading it fails again */
  async #resume (broken: Dispatcher.ResponseData['body'], signal: AbortSignal): Promise<Dispatcher.ResponseData['body']> {
    if (this.#received === 0) return this.#start()
    try {
      const answer = await this.#request(this.#address, { range: `bytes=${this.#received}-`, ...(this.#etag !== undefined && { 'if-range': this.#etag }) })
      const { statusCode, body } = answer
      if (statusCode === 206 && headerOf(answer, 'content-range')?.startsWith(`bytes ${this.#received}-`) === true) return body
      if (statusCode !== 200 && statusCode !== 206 && statusCode !== 416) return await refuse(answer)
      await discard(answer)
      throw new VideoChangedError('The file has changed, or its server gives no ranges')
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof VideoRefusedError || error instanceof VideoChangedError) throw error
      return broken
    }
  }

  #count (chunk: Uint8Array): Uint8Array {
    this.#received += chunk.length
    if (this.#received > this.#maxBytes) throw new VideoRefusedError('too_large', `The file has more than ${this.#maxBytes} bytes`)
    return chunk
  }
}

/** The rest of a file does not fit what was read of it. */
class VideoChangedError extends DownloadFailedError {}

async function refuse (answer: Dispatcher.ResponseData): Promise<never> {
  await discard(answer)
  const { statusCode } = answer
  if (statusCode === 404 || statusCode === 410) throw new VideoRefusedError('gone', `The server of the file answers ${statusCode}`)
  throw new DownloadFailedError(`The server of the file answers ${statusCode}`)
}

/** Of an answer that is not read; its connection is not used again. */
async function discard ({ body }: Dispatcher.ResponseData): Promise<void> {
  body.on('error', () => {}).destroy()
}

function headerOf ({ headers }: Dispatcher.ResponseData, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
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
