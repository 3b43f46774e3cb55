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

/** The first half. The announced length of a file stays, and then its connection ends: the client can see that its download was cut. */
function cut (payload: unknown, reply: FastifyReply): unknown {
  const bytes = Math.floor(lengthOf(payload, reply) / 2)
  if (!reply.hasHeader('content-length')) return bytesOf(payload).subarray(0, bytes)
  const { raw } = reply
  const { socket } = raw
  raw.once('finish', () => socket?.destroy())
  return toStream(firstBytes(payload, bytes))
}

function trickle (payload: unknown, ms: number, reply: FastifyReply): Readable {
  const bytes = announceLength(payload, reply)
  const pieces = Math.max(1, Math.min(bytes, Math.ceil(ms / chunkIntervalMs)))
  const size = Math.ceil(bytes / pieces)
  return toStream((async function * () {
    for await (const chunk of chunksOf(payload)) {
      for (let at = 0; at < chunk.length; at += size) {
        const piece = chunk.subarray(at, at + size)
        await sleep(ms * piece.length / bytes)
        yield piece
      }
    }
  })())
}

async function * firstBytes (payload: unknown, bytes: number): AsyncGenerator<Buffer> {
  let left = bytes
  for await (const chunk of chunksOf(payload)) {
    yield chunk.subarray(0, left)
    left -= chunk.length
    if (left <= 0) return
  }
}

function announceLength (payload: unknown, reply: FastifyReply): number {
  const bytes = lengthOf(payload, reply)
  reply.header('content-length', bytes)
  return bytes
}

/** A stream has announced its length itself. */
function lengthOf (payload: unknown, reply: FastifyReply): number {
  return payload instanceof Readable ? Number(reply.getHeader('content-length')) : bytesOf(payload).length
}

function chunksOf (payload: unknown): AsyncIterable<Buffer> | Buffer[] {
  return payload instanceof Readable ? payload : [bytesOf(payload)]
}

function toStream (chunks: AsyncIterable<Buffer>): Readable {
  return Readable.from(chunks, { objectMode: false })
}

function bytesOf (payload: unknown): Buffer {
  if (Buffer.isBuffer(payload)) return payload
  return Buffer.from(typeof payload === 'string' ? payload : '')
}
