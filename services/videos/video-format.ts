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
