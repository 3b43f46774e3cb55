import type { Dispatcher } from 'undici'

type Headers = Record<string, string | string[] | undefined>

/** A complete response: the status line, the headers and the whole body have been received. */
export interface HttpResponse { status: number, headers: Headers, body: string }

/**
 * The outcome of one request. `failed` with `sent: false` is certain: no byte of the request was sent. With `sent: true` it is unknown
 * what the server did. `withdrawn` means that the caller no longer wanted it before it was sent.
 */
export type Exchange =
  | { outcome: 'answered', response: HttpResponse }
  | { outcome: 'failed', sent: boolean, error: Error }
  | { outcome: 'withdrawn' }

export interface ExchangeRequest {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  body?: string | undefined
  /** for everything together: waiting for a connection, connecting, sending and receiving */
  timeoutMs: number
  /** aborting it before the request is sent withdraws the request, later it makes it fail */
  signal?: AbortSignal | undefined
  /** called once, right before the first byte is sent; false withdraws the request */
  shouldSend?: (() => boolean) | undefined
}

/**
 * Sends one request, at most once. A failure of the network is an outcome, not a rejection.
 * @throws what `shouldSend` throws; nothing is sent then
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

class NotSentError extends Error {}

/**
 * undici calls `onRequestStart` in the same turn of the event loop in which it writes the request to an open connection, and writes
 * nothing if it throws. That separates "certainly not sent" from "perhaps sent": it is never called if the connection is refused, the
 * name cannot be resolved, the TLS handshake fails, or a keep-alive connection turns out to be closed.
 */
class ExchangeHandler implements Dispatcher.DispatchHandler {
  readonly #request
  readonly #resolve
  readonly #reject
  readonly #timer
  readonly #chunks: Buffer[] = []
  #isFinished = false
  #controller: Dispatcher.DispatchController | undefined
  #status = 0
  #headers: Headers = {}

  constructor (request: ExchangeRequest, resolve: (exchange: Exchange) => void, reject: (reason: unknown) => void) {
    this.#request = request
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = setTimeout(() => this.#fail(new Error(`No complete answer within ${request.timeoutMs} ms`)), request.timeoutMs)
    if (request.signal?.aborted) this.#withdraw()
    else request.signal?.addEventListener('abort', this.#onAbort)
  }

  onRequestStart (controller: Dispatcher.DispatchController): void {
    if (this.#isFinished) throw new NotSentError('The request failed before it was sent')
    // A paid request must be sent only once, whatever undici does after a connection breaks.
    if (this.#controller !== undefined) throw new NotSentError('The request was already sent once')
    if (!this.#shouldSend()) throw new NotSentError('The request was withdrawn')
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
    this.#resolveWith({ outcome: 'answered', response: { status: this.#status, headers: this.#headers, body } })
  }

  onResponseError (_controller: Dispatcher.DispatchController, error: Error): void {
    this.#resolveWith({ outcome: 'failed', sent: this.#controller !== undefined, error })
  }

  #shouldSend (): boolean {
    try {
      const may = this.#request.shouldSend?.() ?? true
      if (!may) this.#withdraw()
      return may
    } catch (error) {
      this.#finish(() => this.#reject(error))
      return false
    }
  }

  readonly #onAbort = (): void => {
    if (this.#controller === undefined) this.#withdraw()
    else this.#fail(new Error('The caller stopped waiting for the answer'))
  }

  #withdraw (): void {
    this.#resolveWith({ outcome: 'withdrawn' })
  }

  #fail (error: Error): void {
    this.#resolveWith({ outcome: 'failed', sent: this.#controller !== undefined, error })
    this.#controller?.abort(error)
  }

  #resolveWith (exchange: Exchange): void {
    this.#finish(() => this.#resolve(exchange))
  }

  #finish (complete: () => void): void {
    if (this.#isFinished) return
    this.#isFinished = true
    clearTimeout(this.#timer)
    this.#request.signal?.removeEventListener('abort', this.#onAbort)
    complete()
  }
}
