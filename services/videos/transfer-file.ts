import { ArchiveUnavailableError, type VideoArchive } from './video-archive.ts'

export interface ArchiveFile {
  name: string
  /** such as `video/mp4` */
  contentType: string
}

/** `present`: the second archive has the file, of the same size. `missing`: neither archive has it. */
export interface TransferResult { outcome: 'copied' | 'present' | 'missing', bytes: number }

/**
 * Copies one file from one archive into another, unless it is there. Repeated after an interruption it copies what is missing,
 * because an archive has no halves of files.
 * @throws ArchiveUnavailableError, or the signal's reason
 */
export async function transferFile ({ name, contentType }: ArchiveFile, source: VideoArchive, target: VideoArchive, signal: AbortSignal): Promise<TransferResult> {
  const [from, to] = await Promise.all([source.find(name), target.find(name)])
  if (from === undefined) return { outcome: to === undefined ? 'missing' : 'present', bytes: to?.bytes ?? 0 }
  if (to?.bytes === from.bytes) return { outcome: 'present', bytes: from.bytes }
  const content = await source.read(name)
  if (content === undefined) return { outcome: 'missing', bytes: 0 }
  try {
    await target.store(name, content, { contentType, signal })
  } finally {
    content.destroy()
  }
  const stored = await target.find(name)
  if (stored?.bytes !== from.bytes) {
    throw new ArchiveUnavailableError(new Error(`${name} has ${stored?.bytes ?? 0} bytes after it was copied, and had ${from.bytes}`))
  }
  return { outcome: 'copied', bytes: from.bytes }
}
