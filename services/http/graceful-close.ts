import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import type { Log } from '../runtime/log.ts'

/** How long a request may take to come in on a connection that was accepted just before the servers closed. */
const arrivalTimeoutMs = 200

/** How long answers may take to be made and taken: longer than a request waits for anything but the end of a task. */
const drainTimeoutMs = 10_000

/**
 * How the servers of an instance close: all together (`localhost` is two addresses), without losing an answer, and in
 * bounded time whatever their clients do.
 *
 * Node's own `close` cuts a connection whose first request is still on its way, and a load balancer must not repeat a
 * POST that it has sent; but it waits for minutes for one that sends nothing, half a head or half a body. Here new
 * connections are refused first. Once a request that was on its way has come in, a connection lives on only where a
 * complete request has no answer yet, until it has one.
 */
export class GracefulClose {
  readonly #servers = new Set<Server>()
  /** Every open connection, with the answers that it waits for. */
  readonly #connections = new Map<Socket, Set<ServerResponse>>()
  #isDraining = false
  #closed: Promise<void> | undefined

  /** Closing one of the servers closes all of them, and takes until all are closed. */
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
    this.#connections.set(socket, new Set())
    socket.once('close', () => this.#connections.delete(socket))
  }

  #trackResponse (socket: Socket, response: ServerResponse): void {
    const answers = this.#connections.get(socket)
    answers?.add(response)
    // Comes once the answer has left, or its connection is gone.
    response.once('close', () => {
      answers?.delete(response)
      if (this.#isDraining && !this.#hasPendingResponse(socket)) socket.destroySoon()
    })
  }

  #hasPendingResponse (socket: Socket): boolean {
    return Array.from(this.#connections.get(socket) ?? []).some(({ req }) => req.complete)
  }

  async #close (log: Log): Promise<void> {
    // Right after the turn in which the loop has accepted all that was waiting: the system cuts what is not accepted yet.
    await nextTurn()
    const done = new AbortController()
    const closed = Promise.all(Array.from(this.#servers, stopListening)).finally(() => done.abort())
    const drained = this.#drain(done.signal, log)
    await closed
    await drained
  }

  async #drain (closed: AbortSignal, log: Log): Promise<void> {
    if (await isAborted(closed, arrivalTimeoutMs)) return
    this.#isDraining = true
    for (const socket of this.#connections.keys()) {
      if (!this.#hasPendingResponse(socket)) socket.destroy()
    }
    if (await isAborted(closed, drainTimeoutMs)) return
    log.warn({ connections: this.#connections.size }, 'Cutting connections whose answers were not ready or not taken in time')
    for (const socket of this.#connections.keys()) socket.destroy()
  }
}

/** Resolves when no connection is left. A server that does not listen is closed. */
function stopListening (server: Server): Promise<void> {
  return new Promise((resolve) => NetServer.prototype.close.call(server, () => resolve()))
}

/** Whether the signal is aborted within the time. */
function isAborted (signal: AbortSignal, withinMs: number): Promise<boolean> {
  return delay(withinMs, false, { signal }).catch(() => true)
}
