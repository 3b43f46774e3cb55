import type { Readable } from 'node:stream'
import type { ByteSpan } from './video-archive.ts'

/** What a file was found to be. */
export interface VideoFormat {
  /** `video/mp4`, `video/webm` or `video/quicktime` */
  contentType: string
  seconds: number
  /** in pixels, as it is shown */
  width: number
  height: number
}

/** How many bytes `guessContentType` needs. */
export const signatureBytes = 12

/**
 * Tells by its first bytes whether a file may be a video at all, before the rest of it is fetched.
 * @param head at least `signatureBytes`
 * @returns undefined for anything but MP4, QuickTime and Matroska (WebM)
 */
export function guessContentType (head: Uint8Array): string | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength)
  if (bytes.readUInt32BE(0) === 0x1a45dfa3) return 'video/webm'
  if (bytes.toString('latin1', 4, 8) !== 'ftyp') return undefined
  return bytes.toString('latin1', 8, 12) === 'qt  ' ? 'video/quicktime' : 'video/mp4'
}

/**
 * Opens a file as a video. Reads its index and no more, wherever in the file that is.
 * @param bytes the size of the file
 * @param read gives the bytes of a span
 * @returns undefined where it is no video, or one without a picture or without a length
 * @throws what `read` throws
 */
export async function inspectVideo (bytes: number, read: (span: ByteSpan) => Promise<Readable>): Promise<VideoFormat | undefined> {
  // Not loaded before the first video: that would be a tenth of the start.
  const { CustomSource, Input, MATROSKA, MP4, QTFF, WEBM } = await import('mediabunny')
  let readError: unknown
  const source = new CustomSource({
    getSize: () => bytes,
    read: (start, end) => read({ start, end: end - 1 }).then(collect).catch((error: unknown) => {
      readError = error
      throw error
    }),
    prefetchProfile: 'fileSystem',
    handleUnhandledError: (error) => { readError = error }
  })
  const input = new Input({ source, formats: [MP4, QTFF, WEBM, MATROSKA] })
  try {
    const track = await input.getPrimaryVideoTrack()
    if (track === null) return undefined
    const seconds = await track.getDurationFromMetadata() ?? await track.computeDuration()
    const { mimeType } = await input.getFormat()
    const [width, height] = await Promise.all([track.getDisplayWidth(), track.getDisplayHeight()])
    return seconds > 0 ? { contentType: mimeType, seconds, width, height } : undefined
  } catch {
    // A file that is no video, or a damaged one, makes the library throw errors of many kinds.
    if (readError !== undefined) throw readError
    return undefined
  } finally {
    input.dispose()
  }
}

async function collect (content: Readable): Promise<Buffer> {
  return Buffer.concat(await content.toArray())
}
