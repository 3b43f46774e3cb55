import { randomBytes } from 'node:crypto'

const videoExtensions = ['mp4', 'webm', 'mov'] as const
const contentTypes = {
  mp4: 'video/mp4', webm: 'video/webm', mov: 'video/quicktime', jpg: 'image/jpeg', png: 'image/png', webp: 'image/webp'
} as const
export type ArchiveExtension = keyof typeof contentTypes

/** The file that says to which store an archive belongs. It is no name of a video. */
export const ownerFile = 'dreamreel-owner'

const namePattern = new RegExp(`^[\\w-]{22}\\.(${Object.keys(contentTypes).join('|')})$`)

/** A name for a new file of the archive: 128 random bits, so that only those who were given the address know it. */
export function createArchiveName (extension: ArchiveExtension): string {
  return `${randomBytes(16).toString('base64url')}.${extension}`
}

/** @param sourceUrl the provider's address of a video. Its extension is kept if players know it; otherwise it is `mp4`. */
export function videoExtension (sourceUrl: string): ArchiveExtension {
  const given = /\.(\w+)$/.exec(URL.parse(sourceUrl)?.pathname ?? '')?.[1]?.toLowerCase()
  return videoExtensions.find((known) => known === given) ?? 'mp4'
}

/** Whether a text can be the name of a file in the archive. Such a name contains no separator of folders and no `..`. */
export function isArchiveName (text: string): boolean {
  return namePattern.test(text)
}

/** The type that the extension of a name says. What the file was found to be is stored with its task. */
export function contentTypeOf (name: string): string {
  const extension = name.slice(name.lastIndexOf('.') + 1)
  return Object.entries(contentTypes).find(([known]) => known === extension)?.[1] ?? 'application/octet-stream'
}
