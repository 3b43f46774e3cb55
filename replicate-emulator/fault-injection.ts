import type { FastifyReply, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fault } from './fault.ts'
import { Problem } from './problem.ts'

type Send = (payload: unknown) => void

const chunkIntervalMs = 200

/**
 * Injects a fault into a call. `send` sends its argument instead of the answer. A fault without an answer never calls it: then
 * the client or `app.close()` ends the connection.
 *
 * @param payload  the answer that would have been sent, or null where the call had no effect yet
 */
export function injectFault (fault: Fault, request: FastifyRequest, reply: FastifyReply, payload: unknown, send: Send): void {
  switch (fault.kind) {
    case 'status': return send(problemPayload(fault, reply))
    case 'html': return send(htmlPayload(fault, reply))
    case 'hang': return
    case 'reset_before':
    case 'reset_after': return reset(request)
    case 'malformed': return send(cut(payload, reply))
    case 'slow': return send(trickle(payload, fault.ms ?? 2000, reply))
    case 'empty': return send(empty(reply))
  }
}

/** A TCP reset instead of an orderly end: the client gets ECONNRESET. */
function reset ({ raw }: FastifyRequest): void {
  raw.socket.resetAndDestroy()
}

function problemPayload (fault: Fault, reply: FastifyReply): string {
  const { status = 500, detail = `The emulator was told to answer ${status}.`, retry_after: retryAfter } = fault
  if (retryAfter !== undefined) reply.header('retry-after', Math.ceil(retryAfter))
  const { body } = new Problem(status, detail, retryAfter === undefined ? {} : { retry_after: retryAfter })
  return replaceBody(reply.code(status), 'application/problem+json; charset=utf-8', JSON.stringify(body))
}

function htmlPayload ({ status = 500, detail = 'The server is on strike.', retry_after: retryAfter }: Fault, reply: FastifyReply): string {
  if (retryAfter !== undefined) reply.header('retry-after', Math.ceil(retryAfter))
  const page = `<!doctype html>\n<html><head><title>${status}</title></head><body><h1>${status}</h1><p>${detail}</p></body></html>\n`
  return replaceBody(reply.code(status), 'text/html; charset=utf-8', page)
}

function replaceBody (reply: FastifyReply, type: string, body: string): string {
  reply.removeHeader('content-length')
  reply.header('content-type', type)
  return body
}

function empty (reply: FastifyReply): string {
  reply.removeHeader('content-length')
  return ''
}

/** The first half. A file keeps its announced length, so that the client can see that its download was cut. */
function cut (payload: unknown, reply: FastifyReply): unknown {
  const bytes = bytesOf(payload)
  const half = bytes.subarray(0, bytes.length >> 1)
  if (!reply.hasHeader('content-length')) return half
  const socket = reply.raw.socket
  return Readable.from((async function * () {
    yield half
    await sleep(50)
    socket?.destroy()
  })())
}

function trickle (payload: unknown, ms: number, reply: FastifyReply): Readable {
  const bytes = bytesOf(payload)
  const chunks = Math.max(1, Math.min(bytes.length, Math.ceil(ms / chunkIntervalMs)))
  const size = Math.ceil(bytes.length / chunks)
  if (!reply.hasHeader('content-length')) reply.header('content-length', bytes.length)
  return Readable.from((async function * () {
    for (let at = 0; at < bytes.length; at += size) {
      await sleep(ms / chunks)
      yield bytes.subarray(at, at + size)
    }
  })())
}

function bytesOf (payload: unknown): Buffer {
  if (Buffer.isBuffer(payload)) return payload
  return Buffer.from(typeof payload === 'string' ? payload : '')
}
