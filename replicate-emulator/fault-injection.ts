import type { FastifyReply, FastifyRequest } from 'fastify'
import { once } from 'node:events'
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
    case 'redirect': return send(redirect(fault, request, reply))
    case 'hang': return
    case 'reset_before':
    case 'reset_after': return reset(request)
    case 'malformed': return send(cut(payload, fault, reply))
    case 'stall': return send(stall(payload, fault, reply))
    case 'slow': return send(trickle(payload, fault, reply))
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

/** To the same path with another query, so that a client cannot take a second redirect for a loop by its address. */
function redirect ({ to }: Fault, { url }: FastifyRequest, reply: FastifyReply): string {
  const [path, query] = url.split('?')
  const redirects = Number(new URLSearchParams(query).get('redirects')) + 1
  reply.code(302).header('location', to ?? `${path}?redirects=${redirects}`)
  return empty(reply)
}

/** The first part. The announced length of a file stays, and then its connection ends: the client can see that its download was cut. */
function cut (payload: unknown, fault: Fault, reply: FastifyReply): unknown {
  const bytes = shownBytes(payload, fault, reply)
  if (!reply.hasHeader('content-length')) return bytesOf(payload).subarray(0, bytes)
  const { raw } = reply
  const { socket } = raw
  raw.once('finish', () => socket?.destroy())
  return toStream(firstBytes(payload, bytes))
}

/** As `cut`, but the connection stays open. */
function stall (payload: unknown, fault: Fault, reply: FastifyReply): Readable {
  const bytes = shownBytes(payload, fault, reply)
  announceLength(payload, reply)
  return toStream((async function * () {
    yield * firstBytes(payload, bytes)
    await once(reply.raw, 'close')
  })())
}

function trickle (payload: unknown, fault: Fault, reply: FastifyReply): Readable {
  const bytes = announceLength(payload, reply)
  const ms = fault.bytes_per_second === undefined ? fault.ms ?? 2000 : bytes / fault.bytes_per_second * 1000
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

/** How much of a body a fault lets pass. */
function shownBytes (payload: unknown, { bytes }: Fault, reply: FastifyReply): number {
  return bytes ?? Math.floor(lengthOf(payload, reply) / 2)
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
