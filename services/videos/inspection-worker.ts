import { CustomSource, Input, Logging, LogLevel, MATROSKA, MP4, QTFF, WEBM } from 'mediabunny'
import { parentPort } from 'node:worker_threads'
import type { VideoFormat } from './video-format.ts'

/** What this thread is sent: a file to open, or the bytes that it has requested, undefined where they cannot be had. */
export type InspectionRequest =
  | { kind: 'inspect', bytes: number }
  | { kind: 'content', id: number, content: Uint8Array | undefined }

/** What this thread sends: a span that it needs, its last byte included, or what the file was found to be. */
export type InspectionReply =
  | { kind: 'read', id: number, start: number, end: number }
  | { kind: 'found', format: VideoFormat | undefined }

// What the library has to say about a file would go to the output of the service.
Logging.level = LogLevel.Silent

const reads = new Map<number, PromiseWithResolvers<Uint8Array>>()
let lastId = 0

parentPort?.on('message', (request: InspectionRequest) => {
  if (request.kind === 'content') receive(request)
  else inspect(request.bytes).then((format) => reply({ kind: 'found', format }))
})

function reply (message: InspectionReply): void {
  parentPort?.postMessage(message)
}

function read (start: number, end: number): Promise<Uint8Array> {
  const read = Promise.withResolvers<Uint8Array>()
  reads.set(++lastId, read)
  reply({ kind: 'read', id: lastId, start, end: end - 1 })
  return read.promise
}

function receive ({ id, content }: { id: number, content: Uint8Array | undefined }): void {
  const read = reads.get(id)
  reads.delete(id)
  if (content === undefined) read?.reject(new Error('The bytes cannot be read'))
  else read?.resolve(content)
}

/** Opens a file as a video. Reads its index and no more, wherever in the file that is. */
async function inspect (bytes: number): Promise<VideoFormat | undefined> {
  const source = new CustomSource({ getSize: () => bytes, read, prefetchProfile: 'fileSystem', handleUnhandledError: () => {} })
  const input = new Input({ source, formats: [MP4, QTFF, WEBM, MATROSKA] })
  try {
    const track = await input.getPrimaryVideoTrack()
    if (track === null) return undefined
    const seconds = await track.getDurationFromMetadata() ?? await track.computeDuration()
    const { mimeType: contentType } = await input.getFormat()
    const [width, height] = await Promise.all([track.getDisplayWidth(), track.getDisplayHeight()])
    const isVideo = [seconds, width, height].every((size) => Number.isFinite(size) && size > 0)
    return isVideo ? { contentType, seconds, width, height } : undefined
  } catch {
    // A file that is no video, or a damaged one, makes the library throw errors of many kinds.
    return undefined
  } finally {
    input.dispose()
  }
}
