import type { Dispatcher } from 'undici'

type Headers = Record<string, string | string[] | undefined>

/** A complete answer: the status line, the headers and the whole body have arrived. */
export interface HttpAnswer { status: number, headers: Headers, body: string }

/**
 * How one request went. `broken` with `sent: false` is certain: not a byte of it has left. With `sent: true` nobody
 * knows what the other side has done.
 */
export type Exchange =
  | { outcome: 'answered', answer: HttpAnswer }
  | { outcome: 'broken', sent: boolean, error: Error }
  | { outcome: 'withdrawn' }

export interface ExchangeRequest {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  body?: string | undefined
  /** for everything together: waiting for a connection, connecting, sending, reading */
  timeoutMs: number
  /** An abort before the request is sent withdraws it, a later one breaks it. */
  signal?: AbortSignal | undefined
  /** Asked once, right before the first byte leaves; false withdraws the request. */
  mayStillSend?: (() => boolean) | undefined
}

/**
 * Sends one request, at most once, and never rejects for anything that happens on the network.
 * @throws what `mayStillSend` throws; nothing is sent then
 */
export function exchange (dispatcher: Dispatcher, request: ExchangeRequest): Promise<Exchange> {
  const { method, path, headers, body, timeoutMs } = request
  return new Promise((resolve, reject) => {
    const handler = new ExchangeHandler(request, resolve, reject)
    dispatcher.dispatch({
      method, path, headers, body: body ?? null, headersTimeout: timeoutMs, bodyTimeout: timeoutMs
    }, handler)
  })
}

class NotSent extends Error {}

/**
 * undici calls `onRequestStart` in the same turn in which it writes the request to an open connection, and writes
 * nothing where it throws. That makes it the line between "certainly not sent" and "perhaps sent": a refused
 * connection, a failed name or TLS handshake, and a keep-alive connection found dead never come to it.
 */
class ExchangeHandler implements Dispatcher.DispatchHandler {
  readonly #request
  readonly #resolve
  readonly #reject
  readonly #timer
  readonly #chunks: Buffer[] = []
  #settled = false
  #controller: Dispatcher.DispatchController | undefined
  #status = 0
  #headers: Headers = {}

  constructor (request: ExchangeRequest, resolve: (exchange: Exchange) => void, reject: (reason: unknown) => void) {
    this.#request = request
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = setTimeout(() => this.#giveUp(new Error(`No complete answer within ${request.timeoutMs} ms`)), request.timeoutMs)
    if (request.signal?.aborted) this.#withdraw()
    else request.signal?.addEventListener('abort', this.#onAbort)
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    if (this.#settled) throw new NotSent('Given up before it was sent')
    // Holds whatever undici does with a connection that dies: a paid request leaves once.
    if (this.#controller !== undefined) throw new NotSent('Sent once already')
    if (!this.#mayStillSend()) throw new NotSent('Withdrawn')
    this.#controller = controller
  }

  onResponseStart (_controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    this.#status = status
    this.#headers = headers
  }

  onResponseData (_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk)
  }

  onResponseEnd (): void {
    const body = Buffer.concat(this.#chunks).toString()
    this.#settle({ outcome: 'answered', answer: { status: this.#status, headers: this.#headers, body } })
  }

  onResponseError (_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settle({ outcome: 'broken', sent: this.#controller !== undefined, error })
  }

  #mayStillSend (): boolean {
    try {
      const may = this.#request.mayStillSend?.() ?? true
      if (!may) this.#withdraw()
      return may
    } catch (error) {
      this.#finish(() => this.#reject(error))
      return false
    }
  }

  readonly #onAbort = (): void => {
    if (this.#controller === undefined) this.#withdraw()
    else this.#giveUp(new Error('The caller stopped waiting for the answer'))
  }

  #withdraw (): void {
    this.#settle({ outcome: 'withdrawn' })
  }

  #giveUp (error: Error): void {
    this.#settle({ outcome: 'broken', sent: this.#controller !== undefined, error })
    this.#controller?.abort(error)
  }

  #settle (exchange: Exchange): void {
    this.#finish(() => this.#resolve(exchange))
  }

  #finish (tell: () => void): void {
    if (this.#settled) return
    this.#settled = true
    clearTimeout(this.#timer)
    this.#request.signal?.removeEventListener('abort', this.#onAbort)
    tell()
  }
}
