import { negotiate } from '@fastify/accept-negotiator'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { matchesEtag } from '../services/http/etag.ts'
import type { Encoding, StaticDocument } from '../services/http/static-document.ts'
import { addVary } from './add-vary.ts'

/** Clients may keep a copy but have to revalidate it each time. */
const revalidated = 'no-cache'

/** Sends a static document in the smallest encoding that the client accepts, or 304 if the client's copy is current. */
export async function sendDocument (document: StaticDocument, request: FastifyRequest, reply: FastifyReply, cacheControl = revalidated): Promise<FastifyReply> {
  const { type, encodings } = document
  const encoding = chooseEncoding(encodings, request)
  const { body, etag } = await document.encode(encoding)
  reply.headers({ etag, 'cache-control': cacheControl })
  if (encodings.length > 1) addVary(reply, 'Accept-Encoding')
  if (matchesEtag(request.headers['if-none-match'], etag)) return reply.code(304).send()
  if (encoding !== 'identity') reply.header('content-encoding', encoding)
  return reply.type(type).send(body)
}

/** A client that refuses every encoding gets the document as it is, as RFC 9110, section 12.5.3, permits. */
function chooseEncoding (encodings: Encoding[], { headers }: FastifyRequest): Encoding {
  const accepted = headers['accept-encoding']
  return (typeof accepted === 'string' ? negotiate(accepted, encodings) as Encoding | null : null) ?? 'identity'
}
