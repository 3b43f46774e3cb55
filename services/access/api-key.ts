import { createHash, randomBytes } from 'node:crypto'

const prefix = 'drm_'
const randomByteCount = 32
/** `drm_` and 32 bytes in base64url. Keys of another form are refused, so none can be guessed. */
const format = /^drm_[\w-]{43}$/

/** Makes a new API key. It has 256 random bits, so its SHA-256 can be stored without a salt. */
export function createApiKey (): string {
  return prefix + randomBytes(randomByteCount).toString('base64url')
}

/** Whether a text has the form of an API key, of this service or of another one. */
export function isApiKey (text: string): boolean {
  return format.test(text)
}

/** @returns the SHA-256 of a key, 32 bytes */
export function hashApiKey (key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
