import type { Dispatcher } from 'undici'

type Headers = Record<string, string | string[] | undefined>

/** A complete answer: the status line, the headers and the whole body have arrived. */
export interface HttpResponse { status: number, headers: Headers, body: string }

/**
 * How one request went. `failed` with `sent: false` is certain: not a byte of it has left. With `sent: true` nobody
 * knows what the other side has done.
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
  /** for everything together: waiting for a connection, connecting, sending, reading */
  timeoutMs: number
  /** An abort before the request is sent withdraws it, a later one breaks it. */
  signal?: AbortSignal | undefined
  /** Asked once, right before the first byte leaves; false withdraws the request. */
  shouldSend?: (() => boolean) | undefined
}

/**
 * Sends one request, at most once, and never rejects for anything that happens on the network.
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
    if (this.#isFinished) throw new NotSentError('Given up before it was sent')
    // Holds whatever undici does with a connection that dies: a paid request leaves once.
    if (this.#controller !== undefined) throw new NotSentError('Sent once already')
    if (!this.#shouldSend()) throw new NotSentError('Withdrawn')
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
