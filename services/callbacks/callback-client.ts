import type { LookupFunction } from 'node:net'
import { Client } from 'undici'
import { createGuardedConnector } from '../net/guarded-connector.ts'
import { HostResolver } from '../net/host-resolver.ts'
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
 * Posts to addresses that strangers chose, at public IP addresses only. Redirects are not followed, and only the headers of the
 * response are read.
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

  #createConnector (signal: AbortSignal) {
    const { allowPrivate, timeoutMs, lookup = this.#resolver.createLookup(signal) } = this.#options
    return createGuardedConnector({ allowPrivate, timeoutMs, lookup })
  }
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

function readErrorCode (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
