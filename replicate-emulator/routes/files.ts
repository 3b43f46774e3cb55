import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { readRange, type ByteRange } from '../byte-range.ts'
import type { HooksFor } from '../call-hooks.ts'
import type { Emulator } from '../emulator.ts'
import type { FileName, ReadableFile } from '../prediction-files.ts'
import { isWiped, type Prediction } from '../prediction.ts'
import { notFound } from '../problem.ts'

interface Options {
  emulator: Emulator
  hooksFor: HooksFor
}

interface ById { Params: { id: string } }

/** The videos and thumbnails: there from the end of the prediction until it is wiped. */
export const fileRoutes: FastifyPluginAsync<Options> = async (app, { emulator, hooksFor }) => {
  app.get<ById>('/:id/output.mp4', hooksFor('file'), (request, reply) => send('video', request, reply))
  app.get<ById>('/:id/thumbnail.jpg', hooksFor('thumbnail'), (request, reply) => send('thumbnail', request, reply))

  async function send (name: FileName, request: FastifyRequest<ById>, reply: FastifyReply) {
    const prediction = emulator.log.find(request.params.id)
    if (prediction === undefined || !hasFiles(prediction, emulator.now())) throw notFound()
    const file = await emulator.files.open(prediction, name)
    reply.header('last-modified', new Date(emulator.clock.read(prediction.endsAt)).toUTCString())
    return sendFile(file, emulator.settings.fileRanges, request, reply)
  }
}

function hasFiles (prediction: Prediction, now: number): boolean {
  return now >= prediction.endsAt && !isWiped(prediction, now)
}

function sendFile (file: ReadableFile, knowsRanges: boolean, request: FastifyRequest, reply: FastifyReply) {
  const { type, etag, bytes } = file
  reply.headers({ etag, 'content-type': type, 'cache-control': 'public, max-age=3600', ...(knowsRanges && { 'accept-ranges': 'bytes' }) })
  if (request.headers['if-none-match'] === etag) return reply.code(304).send()
  const ifRange = request.headers['if-range']
  const isAsked = knowsRanges && (ifRange === undefined || ifRange === etag)
  const range = readRange(isAsked ? request.headers.range : undefined, bytes)
  if (range.kind === 'unsatisfiable') return reply.code(416).header('content-range', `bytes */${bytes}`).type('text/plain').send('')
  const { first, last } = spanOf(range, bytes)
  if (range.kind === 'part') reply.code(206).header('content-range', `bytes ${first}-${last}/${bytes}`)
  reply.header('content-length', last - first + 1)
  // The body of a HEAD is read and thrown away.
  const content = request.method === 'HEAD' ? [] : file.read(first, last)
  return reply.send(Readable.from(content, { objectMode: false }))
}

function spanOf (range: Exclude<ByteRange, { kind: 'unsatisfiable' }>, bytes: number): { first: number, last: number } {
  return range.kind === 'part' ? range : { first: 0, last: bytes - 1 }
}
