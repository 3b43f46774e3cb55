import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Log } from '../runtime/log.ts'

/**
 * Limits the requests of all connections that wait for an earlier response on their connection. Each takes about 4 kB, and a single
 * read of 64 kB can contain about 2,000 of them. A real client pipelines a few dozen.
 */
const maxWaiting = 10_000

/**
 * Handles the requests of a connection one after another. Node passes on all pipelined requests that it has read, although their
 * responses have to be sent in order, so a client that reads no response would have all of them made and kept in memory. Here a
 * request waits until the previous response has been sent, and while one waits its connection is not read.
 */
export class PipelinedRequests {
  readonly #log: Log
  /** The number of waiting requests of each connection on which a request has ever waited. */
  readonly #waitingOn = new WeakMap<Socket, number>()
  #waiting = 0

  constructor (log: Log) {
    this.#log = log
  }

  /** Calls `start` at once, or after all earlier responses of the connection have been sent. */
  run (request: IncomingMessage, response: ServerResponse, start: RequestListener): void {
    // Node assigns the socket to the response that is next.
    if (response.socket !== null) start(request, response)
    else if (!request.socket.destroyed) this.#queue(request, response, start)
  }

  #queue (request: IncomingMessage, response: ServerResponse, start: RequestListener): void {
    const { socket } = request
    if (this.#waiting === maxWaiting) {
      this.#log.warn({ waiting: maxWaiting }, 'Closing a connection, because too many pipelined requests wait for an earlier response')
      socket.destroy()
      return
    }
    this.#waiting++
    if (!this.#waitingOn.has(socket)) this.#keepPaused(socket)
    const waiting = this.#waitingCount(socket) + 1
    this.#waitingOn.set(socket, waiting)
    if (waiting === 1) socket.pause()
    // One request for each turn of the event loop, so that other connections are served in between.
    response.once('socket', () => setImmediate(() => {
      if (socket.destroyed) return
      this.#dequeue(socket)
      start(request, response)
    }))
  }

  /**
   * Node resumes a connection by itself whenever the body of a request has been read; this pauses it again. The listeners are added
   * once for each connection.
   */
  #keepPaused (socket: Socket): void {
    socket.on('resume', () => { if (this.#waitingCount(socket) > 0) socket.pause() })
    socket.once('close', () => { this.#waiting -= this.#waitingCount(socket) })
  }

  #waitingCount (socket: Socket): number {
    return this.#waitingOn.get(socket) ?? 0
  }

  #dequeue (socket: Socket): void {
    this.#waiting--
    const waiting = this.#waitingCount(socket) - 1
    this.#waitingOn.set(socket, waiting)
    if (waiting === 0) socket.resume()
  }
}
