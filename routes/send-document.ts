import type { FastifyReply, FastifyRequest } from 'fastify'
import { matchesEtag } from '../services/http/etag.ts'
import type { StaticDocument } from '../services/http/static-document.ts'

/** Sends a static document, or 304 if the client's copy is current. Clients may keep a copy but have to revalidate it each time. */
export function sendDocument (document: StaticDocument, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.headers({ etag: document.etag, 'cache-control': 'no-cache' })
  if (matchesEtag(request.headers['if-none-match'], document.etag)) return reply.code(304).send()
  return reply.type(document.type).send(document.body)
}
