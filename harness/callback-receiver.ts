import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { listen } from './listen.ts'

export interface ReceivedCallback {
  headers: IncomingHttpHeaders
  body: string
  /** where it came to: the whole address */
  address: string
  /** ms since the epoch */
  at: number
}

type Answer = (callback: ReceivedCallback, response: ServerResponse) => void

/** A server that records the callbacks at any of its addresses. */
export class CallbackReceiver {
  readonly received: ReceivedCallback[] = []
  /** Callbacks whose body broke off, as a service that is killed leaves them. */
  incomplete = 0
  readonly #answer: Answer
  readonly #server = createServer((request, response) => {
    this.#receive(request, response).catch(() => { this.incomplete++ })
  })

  #origin = ''

  /** @param answer is called with each callback after it was recorded, and answers it now, later or never */
  constructor (answer: Answer) {
    this.#answer = answer
  }

  async listen (): Promise<void> {
    this.#origin = `http://127.0.0.1:${await listen(this.#server)}`
  }

  /** The whole address of a path with a slash at its beginning. */
  address (path: string): string {
    return this.#origin + path
  }

  async close (): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #receive (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const callback = { headers: request.headers, body: await text(request), address: this.address(request.url ?? ''), at: Date.now() }
    this.received.push(callback)
    this.#answer(callback, response)
  }
}
