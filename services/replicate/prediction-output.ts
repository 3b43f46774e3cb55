/**
 * The video in a prediction's output: `untrusted` names one on a host that is not trusted, which must be neither
 * fetched nor passed on; `nothing` is an output without anything that could be a video.
 */
export type FoundVideo =
  | { found: 'video', url: string }
  | { found: 'untrusted', url: string }
  | { found: 'nothing' }

const maxDepth = 8
const maxValues = 1_000
const maxUrlLength = 2_048

const preferredExtensions = ['mp4', 'webm', 'mov']
const posterExtensions = new Set(['jpg', 'jpeg', 'png', 'webp'])
const nonVideoExtensions = new Set([
  'png', 'jpg', 'jpeg', 'webp', 'gif', 'bmp', 'svg', 'avif', 'heic', 'tif', 'tiff', 'ico',
  'wav', 'mp3', 'ogg', 'oga', 'opus', 'flac', 'm4a', 'aac',
  'json', 'txt', 'csv', 'md', 'html', 'htm', 'xml', 'log', 'srt', 'vtt', 'yaml', 'yml', 'pdf',
  'zip', 'tar', 'gz', 'safetensors'
])

/**
 * Searches an output of any shape; of several videos the best kind counts (.mp4, .webm, .mov, then an address
 * that does not say), of the same kind the first.
 * @param apiUrl the address of the API: where it is not Replicate's own, files of its origin are trusted
 * @returns the address normalised, at most 2,048 characters
 */
export function findVideo (output: unknown, apiUrl: string): FoundVideo {
  const videos = collectUrls(output).filter((url) => !nonVideoExtensions.has(extension(url)))
  const trusted = videos.filter((url) => isTrustedFile(url, new URL(apiUrl)))
  const best = trusted.sort((a, b) => rank(a) - rank(b))[0]
  if (best !== undefined) return { found: 'video', url: best.href }
  const [untrusted] = videos
  return untrusted === undefined ? { found: 'nothing' } : { found: 'untrusted', url: untrusted.href }
}

/** @returns the address of the first picture beside the video, on a trusted host; null if there is none */
export function findPoster (output: unknown, apiUrl: string): string | null {
  const api = new URL(apiUrl)
  return collectUrls(output).find((url) => posterExtensions.has(extension(url)) && isTrustedFile(url, api))?.href ?? null
}

/** The URLs of an output, of which `findVideo` returns the same result as of the output. */
export function extractUrls (output: unknown): string[] {
  return collectUrls(output).map(({ href }) => href)
}

/** In the order of the output. Values beyond the limits of depth and number are ignored. */
function collectUrls (output: unknown): URL[] {
  const found: URL[] = []
  let left = maxValues
  const visit = (value: unknown, depth: number): void => {
    if (left-- <= 0 || depth > maxDepth) return
    if (typeof value === 'string') found.push(...parseUrl(value))
    else if (typeof value === 'object' && value !== null) {
      for (const key in value) visit(Reflect.get(value, key), depth + 1)
    }
  }
  visit(output, 0)
  return found
}

function parseUrl (text: string): URL[] {
  const url = text.length > maxUrlLength ? null : URL.parse(text)
  if (url === null || url.href.length > maxUrlLength) return []
  return url.protocol === 'https:' || url.protocol === 'http:' ? [url] : []
}

/** Whether files at this address are the provider's. @param api the address of the API */
export function isTrustedFile (url: URL, api: URL): boolean {
  if (url.username !== '' || url.password !== '') return false
  if (!isReplicate(api) && url.origin === api.origin) return true
  if (url.protocol !== 'https:' || url.port !== '') return false
  if (url.hostname === 'api.replicate.com') return /^\/v1\/files\/./.test(url.pathname)
  return url.hostname === 'replicate.delivery' || url.hostname.endsWith('.replicate.delivery')
}

/** Whether this is Replicate's own API, and not a replacement. */
export function isReplicate (api: URL): boolean {
  return api.hostname === 'api.replicate.com'
}

function extension ({ pathname }: URL): string {
  return /\.([a-z0-9]+)$/i.exec(pathname)?.[1]?.toLowerCase() ?? ''
}

function rank (url: URL): number {
  const rank = preferredExtensions.indexOf(extension(url))
  return rank === -1 ? preferredExtensions.length : rank
}
