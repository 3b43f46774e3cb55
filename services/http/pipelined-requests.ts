import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Log } from '../runtime/log.ts'

/**
 * How many requests of all connections may wait for an earlier answer on theirs. One takes about 4 kB, and a single read
 * of 64 kB can bring some 2,000 of them; a client that pipelines in earnest has a few dozen.
 */
const maxWaiting = 10_000

/**
 * Works on the requests of a connection one after another. Node hands over all that were read, however many, although the
 * answers have to leave in order: a client that reads none of them would have every one made and kept in memory. Here a
 * request waits until the answer before it has left, and while one waits nothing more is read from its connection.
 */
export class PipelinedRequests {
  readonly #log: Log
  /** How many requests wait on each connection that has had any wait. */
  readonly #waitingOn = new WeakMap<Socket, number>()
  #waiting = 0

  constructor (log: Log) {
    this.#log = log
  }

  /** Calls `start` when it is the request's turn: at once, unless an earlier answer of its connection is under way. */
  run (request: IncomingMessage, response: ServerResponse, start: RequestListener): void {
    // Node assigns the connection to the answer whose turn it is.
    if (response.socket !== null) start(request, response)
    else if (!request.socket.destroyed) this.#queue(request, response, start)
  }

  #queue (request: IncomingMessage, response: ServerResponse, start: RequestListener): void {
    const { socket } = request
    if (this.#waiting === maxWaiting) {
      this.#log.warn({ waiting: maxWaiting }, 'A connection is cut: too many requests wait for an earlier answer on theirs')
      socket.destroy()
      return
    }
    this.#waiting++
    if (!this.#waitingOn.has(socket)) this.#keepPaused(socket)
    const waiting = this.#waitingCount(socket) + 1
    this.#waitingOn.set(socket, waiting)
    if (waiting === 1) socket.pause()
    // A turn of the event loop for each: others are served in between.
    response.once('socket', () => setImmediate(() => {
      if (socket.destroyed) return
      this.#dequeue(socket)
      start(request, response)
    }))
  }

  /**
   * Node goes on reading of its own accord, whenever the body of a request has been read: each time it is stopped again.
   * Once for a connection, however often requests come to wait on it.
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
