import type { LookupFunction } from 'node:net'
import { buildConnector, Client } from 'undici'
import { HostResolver } from '../net/host-resolver.ts'
import { isPublicAddress } from '../net/ip-address.ts'
import { parseRetryAfter } from '../net/retry-after.ts'
import { parseCallbackUrl } from './callback-url.ts'

export interface CallbackClientOptions {
  allowPrivate: boolean
  /** ms for everything together: resolving the name, connecting, sending, and receiving the headers of the response */
  timeoutMs: number
  /** replaces the built-in resolution of names */
  lookup?: LookupFunction
  /** the name servers to query; by default those of the system */
  nameServers?: string[]
}

/** The result of one POST. `reason` is the code of the error, or of the rule that forbids to call the address. */
export type CallbackResult =
  | { outcome: 'answered', status: number, retryAfterMs: number | undefined }
  | { outcome: 'unreachable', reason: string }

const maxHeaderSize = 16 * 1024
/** Limits the 1xx responses before the final one. Without a limit a server could keep the process busy with reading them. */
const maxInterimResponses = 4

/**
 * Posts to addresses that strangers chose. The IP address that is checked is the one that is connected to, whatever the name resolves
 * to before or after. Redirects are not followed, and only the headers of the response are read.
 */
export class CallbackClient {
  #options
  #resolver

  constructor (options: CallbackClientOptions) {
    this.#options = options
    this.#resolver = new HostResolver({ allowPrivate: options.allowPrivate, servers: options.nameServers })
  }

  /** Sends one POST. Never rejects. */
  async post (address: string, headers: Record<string, string>, body: string): Promise<CallbackResult> {
    // The rules may have changed since the address was accepted.
    const read = parseCallbackUrl(address, { canSign: true, ...this.#options })
    if (!read.ok) return { outcome: 'unreachable', reason: read.fault.type }
    const { origin, pathname, search } = new URL(read.url)
    const over = new AbortController()
    const { signal } = over
    const { timeoutMs } = this.#options
    const timer = setTimeout(() => over.abort(new DOMException(`No answer within ${timeoutMs} ms`, 'TimeoutError')), timeoutMs)
    // One client for each call: keeping connections to strangers open has no use.
    const client = new Client(origin, { connect: this.#createConnector(signal), maxHeaderSize })
    try {
      const answer = await client.request({ method: 'POST', path: pathname + search, headers, body, signal, onInfo: limitInterimResponses(maxInterimResponses) })
      answer.body.on('error', () => {})
      return { outcome: 'answered', status: answer.statusCode, retryAfterMs: parseRetryAfter(answer.headers) }
    } catch (error) {
      return { outcome: 'unreachable', reason: readErrorCode(error) }
    } finally {
      clearTimeout(timer)
      // Stops a name resolution that is still in progress.
      over.abort()
      await client.destroy()
    }
  }

  /** An IP address instead of a name is never resolved, so `post` checks it before. */
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

/** Makes a listener for 1xx responses. The error that it throws ends the request. */
function limitInterimResponses (limit: number): () => void {
  let count = 0
  return () => {
    if (++count > limit) throw new TooManyInterimResponsesError()
  }
}

/** Makes a lookup return only the public addresses of a name, and fail if there are none. */
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
