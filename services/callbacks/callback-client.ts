import type { LookupFunction } from 'node:net'
import { buildConnector, Client } from 'undici'
import { parseCallbackUrl } from './callback-url.ts'
import { HostResolver } from '../net/host-resolver.ts'
import { isPublicAddress } from '../net/ip-address.ts'
import { parseRetryAfter } from '../net/retry-after.ts'

export interface CallbackClientOptions {
  allowPrivate: boolean
  /** ms for everything together: the name, connecting, sending, and the head of the answer */
  timeoutMs: number
  /** how names are resolved, instead of the built-in way */
  lookup?: LookupFunction
  /** the name servers to ask; the system's where nothing is said */
  nameServers?: string[]
}

/** What a callback address said. `reason` is the code of what went wrong on the way, or of why it may not be called. */
export type CallbackResult =
  | { outcome: 'answered', status: number, retryAfterMs: number | undefined }
  | { outcome: 'unreachable', reason: string }

const maxHeaderSize = 16 * 1024
/** Heads of 1xx before that of the answer. There may be any number, and a process that reads a flood of them does nothing else. */
const maxInterimResponses = 4

/**
 * Posts to addresses that strangers chose. The address that is connected to is the one that was checked, whatever the
 * name resolves to before or after; nothing is followed, and of the answer only the head is read.
 */
export class CallbackClient {
  #options
  #resolver

  constructor (options: CallbackClientOptions) {
    this.#options = options
    this.#resolver = new HostResolver({ allowPrivate: options.allowPrivate, servers: options.nameServers })
  }

  /** Never rejects. */
  async post (address: string, headers: Record<string, string>, body: string): Promise<CallbackResult> {
    // What was allowed when the address was given may not be any more.
    const read = parseCallbackUrl(address, { canSign: true, ...this.#options })
    if (!read.ok) return { outcome: 'unreachable', reason: read.fault.type }
    const { origin, pathname, search } = new URL(read.url)
    const over = new AbortController()
    const { signal } = over
    const { timeoutMs } = this.#options
    const timer = setTimeout(() => over.abort(new DOMException(`No answer within ${timeoutMs} ms`, 'TimeoutError')), timeoutMs)
    // One for each call: what is kept open to a stranger only costs.
    const client = new Client(origin, { connect: this.#createConnector(signal), maxHeaderSize })
    try {
      const answer = await client.request({ method: 'POST', path: pathname + search, headers, body, signal, onInfo: limitInterimResponses(maxInterimResponses) })
      answer.body.on('error', () => {})
      return { outcome: 'answered', status: answer.statusCode, retryAfterMs: parseRetryAfter(answer.headers) }
    } catch (error) {
      return { outcome: 'unreachable', reason: readErrorCode(error) }
    } finally {
      clearTimeout(timer)
      // A name may still be looked up.
      over.abort()
      await client.destroy()
    }
  }

  /** An address instead of a name is not looked up: `post` refuses it before. */
  #createConnector (signal: AbortSignal) {
    const { allowPrivate, timeoutMs: timeout, lookup = this.#createLookup(signal) } = this.#options
    return buildConnector({ timeout, allowH2: false, lookup: allowPrivate ? lookup : publicOnly(lookup) })
  }

  #createLookup (signal: AbortSignal): LookupFunction {
    return (hostname, { all }, callback) => {
      this.#resolver.resolve(hostname, signal).then((addresses) => {
        const [first] = addresses
        if (all) callback(null, addresses)
        else callback(null, first?.address ?? '', first?.family)
      }, (error: NodeJS.ErrnoException) => callback(error, []))
    }
  }
}

class NotPublicError extends Error {
  readonly code = 'not_public'
}

class TooManyInterimResponsesError extends Error {
  readonly code = 'too_many_interim'
}

/** What is thrown ends the request. */
function limitInterimResponses (limit: number): () => void {
  let count = 0
  return () => {
    if (++count > limit) throw new TooManyInterimResponsesError()
  }
}

/** Leaves out what a name resolves to besides public addresses; where nothing is left it fails. */
export function publicOnly (lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      const addresses = Array.isArray(found) ? found.filter(({ address }) => isPublicAddress(address)) : []
      const [first] = addresses
      if (error !== null || first === undefined) callback(error ?? new NotPublicError(), [])
      else if (options.all) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }
}

function readErrorCode (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
