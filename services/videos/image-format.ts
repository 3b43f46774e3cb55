/** What a poster can be. */
export interface ImageFormat { contentType: 'image/jpeg' | 'image/png' | 'image/webp', extension: 'jpg' | 'png' | 'webp' }

/** Tells by its first bytes what kind of image a file is. @returns undefined for every other kind of file */
export function guessImageFormat (content: Buffer): ImageFormat | undefined {
  if (content.toString('latin1', 0, 3) === '\xff\xd8\xff') return { contentType: 'image/jpeg', extension: 'jpg' }
  if (content.toString('latin1', 0, 8) === '\x89PNG\r\n\x1a\n') return { contentType: 'image/png', extension: 'png' }
  const isWebp = content.toString('latin1', 0, 4) === 'RIFF' && content.toString('latin1', 8, 12) === 'WEBP'
  return isWebp ? { contentType: 'image/webp', extension: 'webp' } : undefined
}
