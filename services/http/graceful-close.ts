import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import type { Log } from '../runtime/log.ts'

/** How long waiting connections may take to be accepted. */
const acceptTimeoutMs = 2_000

/** How long a request may take to arrive on a connection that was accepted just before the servers closed. */
const arrivalTimeoutMs = 200

/** How long pending responses may take. No request takes longer, except for one that waits for the end of a task. */
const drainTimeoutMs = 10_000

/**
 * Closes the servers of an instance together (`localhost` is two addresses), without losing a response, and in bounded time whatever
 * their clients do.
 *
 * Node's own `close` closes a connection whose first request is still arriving, and a load balancer must not repeat a POST that it has
 * sent. On the other hand it waits minutes for a connection that sends nothing, part of the headers or part of a body. Here new
 * connections are refused first, and requests on open connections get a moment to arrive. After that a connection is kept only while
 * a complete request on it has no response yet.
 */
export class GracefulClose {
  readonly #servers = new Set<Server>()
  /** Every open connection with its pending responses. */
  readonly #connections = new Map<Socket, Set<ServerResponse>>()
  /** how many connections were ever accepted */
  #accepted = 0
  #isDraining = false
  #closed: Promise<void> | undefined

  /** From now on closing any of the servers closes all of them, and completes when all are closed. */
  add (server: Server, log: Log): void {
    this.#servers.add(server)
    server.on('connection', (socket: Socket) => this.#track(socket))
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#trackResponse(request.socket, response))
    server.close = (callback) => {
      this.#closed ??= this.#close(log)
      this.#closed.then(() => callback?.(), callback)
      return server
    }
  }

  #track (socket: Socket): void {
    this.#accepted++
    this.#connections.set(socket, new Set())
    socket.once('close', () => this.#connections.delete(socket))
  }

  #trackResponse (socket: Socket, response: ServerResponse): void {
    const answers = this.#connections.get(socket)
    answers?.add(response)
    // Emitted when the response has been sent or the connection is closed.
    response.once('close', () => {
      answers?.delete(response)
      if (this.#isDraining && !this.#hasPendingResponse(socket)) socket.destroySoon()
    })
  }

  #hasPendingResponse (socket: Socket): boolean {
    return Array.from(this.#connections.get(socket) ?? []).some(({ req }) => req.complete)
  }

  async #close (log: Log): Promise<void> {
    await this.#acceptWaiting()
    const done = new AbortController()
    const closed = Promise.all(Array.from(this.#servers, stopListening)).finally(() => done.abort())
    const drained = this.#drain(done.signal, log)
    await closed
    await drained
  }

  /**
   * Accepts the connections that are waiting; the operating system would reset them. The event loop accepts one in each turn. The time
   * is limited, because new ones can come all the time.
   */
  async #acceptWaiting (): Promise<void> {
    const end = performance.now() + acceptTimeoutMs
    for (let turnsWithout = 0; turnsWithout < 2 && performance.now() < end;) {
      const accepted = this.#accepted
      await nextTurn()
      turnsWithout = this.#accepted === accepted ? turnsWithout + 1 : 0
    }
  }

  async #drain (closed: AbortSignal, log: Log): Promise<void> {
    if (await isAborted(closed, arrivalTimeoutMs)) return
    // If the event loop was busy for all of that time, it has not read yet what has arrived. By the next turn it has.
    await nextTurn()
    this.#isDraining = true
    for (const socket of this.#connections.keys()) {
      if (!this.#hasPendingResponse(socket)) socket.destroy()
    }
    if (await isAborted(closed, drainTimeoutMs)) return
    log.warn({ connections: this.#connections.size }, 'Closing connections whose responses were not ready or not read in time')
    for (const socket of this.#connections.keys()) socket.destroy()
  }
}

/** Resolves when no connection is left, or at once if the server does not listen. */
function stopListening (server: Server): Promise<void> {
  return new Promise((resolve) => NetServer.prototype.close.call(server, () => resolve()))
}

/** Waits for the signal. @returns whether it was aborted within the time */
function isAborted (signal: AbortSignal, withinMs: number): Promise<boolean> {
  return delay(withinMs, false, { signal }).catch(() => true)
}
