import type { FastifyReply, FastifyRequest } from 'fastify'
import type { StaticDocument } from '../services/http/static-document.ts'
import { matchesEtag } from '../services/http/etag.ts'

/** Sends a document from its one buffer, or says that the client's copy is still right. Copies are kept, and asked about each time. */
export function sendDocument (document: StaticDocument, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.headers({ etag: document.etag, 'cache-control': 'no-cache' })
  if (matchesEtag(request.headers['if-none-match'], document.etag)) return reply.code(304).send()
  return reply.type(document.type).send(document.body)
}
