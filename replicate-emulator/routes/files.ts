import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { createHash } from 'node:crypto'
import { readRange } from '../byte-range.ts'
import type { fileHooks } from '../call-hooks.ts'
import type { Emulator } from '../emulator.ts'
import { isWiped, type Prediction } from '../prediction.ts'
import { notFound } from '../problem.ts'
import type { VideoRenderer } from '../video/video-renderer.ts'

interface Options {
  emulator: Emulator
  renderer: VideoRenderer
  hooks: ReturnType<typeof fileHooks>
}

/** The videos: made at the first download, gone when the prediction is wiped. */
export const fileRoutes: FastifyPluginAsync<Options> = async (app, { emulator, renderer, hooks }) => {
  app.get<{ Params: { id: string } }>('/:id/:name.mp4', hooks, async (request, reply) => {
    const prediction = emulator.log.find(request.params.id)
    if (prediction === undefined || !hasFile(prediction, emulator.now())) throw notFound()
    const video = await renderer.videoFor(promptOf(prediction))
    return sendVideo(video, request, reply)
  })
}

function hasFile (prediction: Prediction, now: number): boolean {
  return now >= prediction.endsAt && !isWiped(prediction, now)
}

function promptOf ({ input }: Prediction): string {
  return typeof input.prompt === 'string' ? input.prompt : ''
}

function sendVideo (video: Buffer, request: FastifyRequest, reply: FastifyReply) {
  const etag = `"${createHash('sha256').update(video).digest('base64url')}"`
  reply.headers({ etag, 'accept-ranges': 'bytes', 'content-type': 'video/mp4', 'cache-control': 'private, max-age=3600' })
  if (request.headers['if-none-match'] === etag) return reply.code(304).send()
  const ifRange = request.headers['if-range']
  const range = readRange(ifRange === undefined || ifRange === etag ? request.headers.range : undefined, video.length)
  switch (range.kind) {
    case 'whole': return sendBytes(video, reply)
    case 'unsatisfiable': return reply.code(416).header('content-range', `bytes */${video.length}`).type('text/plain').send('')
    case 'part':
      reply.code(206).header('content-range', `bytes ${range.first}-${range.last}/${video.length}`)
      return sendBytes(video.subarray(range.first, range.last + 1), reply)
  }
}

function sendBytes (bytes: Buffer, reply: FastifyReply) {
  return reply.header('content-length', bytes.length).send(bytes)
}
