import type { LookupFunction } from 'node:net'
import { Agent, type Dispatcher } from 'undici'
import { createGuardedConnector } from '../net/guarded-connector.ts'
import { HostResolver } from '../net/host-resolver.ts'
import { DownloadFailedError, VideoRefusedError } from './download-errors.ts'

export interface ProviderFilesOptions {
  /** whether the provider's files are at this address; nothing else is fetched, also not by a redirect */
  isTrusted: (url: URL) => boolean
  /** what is sent along, such as a token for its own host; after a redirect to another origin it is not */
  headersFor: (url: URL) => Record<string, string>
  /** whether files may be on this machine or in its networks, as those of an emulator are */
  allowPrivate: boolean
  /** replaces the built-in resolution of names */
  lookup?: LookupFunction | undefined
  /** ms to connect, to the head of an answer, and between two parts of a body */
  idleTimeoutMs: number
}

export type FileAnswer = Dispatcher.ResponseData

const redirects = new Set([301, 302, 303, 307, 308])
const maxRedirects = 3

/** Requests files from the provider's hosts, each on a connection of its own. */
export class ProviderFiles {
  #options
  #agent
  #closing = new AbortController()

  constructor (options: ProviderFilesOptions) {
    this.#options = options
    const { allowPrivate, idleTimeoutMs } = options
    const lookup = options.lookup ?? new HostResolver({ allowPrivate }).createLookup(this.#closing.signal)
    const connect = createGuardedConnector({ allowPrivate, timeoutMs: idleTimeoutMs, lookup })
    this.#agent = new Agent({ connect, headersTimeout: idleTimeoutMs, bodyTimeout: idleTimeoutMs, pipelining: 0 })
  }

  /** Aborted when everything that is under way has to end; its reason is a DownloadFailedError. */
  get closing (): AbortSignal {
    return this.#closing.signal
  }

  /**
   * Requests a file, once.
   * @returns any answer that is no redirect. The caller reads its body or passes it to `discard`.
   * @throws DownloadFailedError, or the signal's reason
   */
  async get (address: string, headers: Record<string, string>, signal: AbortSignal): Promise<FileAnswer> {
    const first = new URL(address)
    for (let url = first, followed = 0; ; followed++) {
      const answer = await this.#request(url, { ...headers, ...(url.origin === first.origin && this.#options.headersFor(url)) }, signal)
      if (!redirects.has(answer.statusCode)) return answer
      discard(answer)
      const next = URL.parse(headerOf(answer, 'location') ?? '', url.href)
      if (next === null || followed === maxRedirects) throw new DownloadFailedError('The redirects of the file cannot be followed')
      url = next
    }
  }

  async close (): Promise<void> {
    this.#closing.abort(new DownloadFailedError('Downloads have ended'))
    await this.#agent.destroy()
  }

  async #request (url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<FileAnswer> {
    if (!this.#options.isTrusted(url)) throw new DownloadFailedError(`Files are not fetched from ${url.host}`)
    const answer = await this.#agent.request({
      // A range of an encoded file would not be a range of the video.
      origin: url.origin, path: url.pathname + url.search, method: 'GET', headers: { 'accept-encoding': 'identity', ...headers }, signal
    }).catch((error: unknown) => {
      signal.throwIfAborted()
      throw new DownloadFailedError('The file could not be requested', { cause: error })
    })
    const encoding = headerOf(answer, 'content-encoding')
    if (encoding === undefined || encoding === 'identity') return answer
    discard(answer)
    throw new DownloadFailedError(`The file is sent in the encoding ${encoding.slice(0, 20)}`)
  }
}

/** @throws an error that says what the status of an answer means for the file; the answer is discarded */
export function refuse (answer: FileAnswer): never {
  discard(answer)
  const { statusCode } = answer
  if (statusCode === 404 || statusCode === 410) throw new VideoRefusedError('gone', `The server of the file answers ${statusCode}`)
  throw new DownloadFailedError(`The server of the file answers ${statusCode}`)
}

/** Of an answer whose body is not read. Its connection is closed. */
export function discard ({ body }: FileAnswer): void {
  body.on('error', () => {}).destroy()
}

export function headerOf ({ headers }: FileAnswer, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}
