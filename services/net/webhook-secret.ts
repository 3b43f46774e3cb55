/** Secrets of Standard Webhooks are `whsec_` and 24 to 64 bytes in base64. */
const prefix = 'whsec_'

/** Whether the text is a valid secret of Standard Webhooks. */
export function isWebhookSecret (secret: string): boolean {
  if (!secret.startsWith(prefix)) return false
  const base64 = secret.slice(prefix.length)
  const { length } = Buffer.from(base64, 'base64')
  return base64.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(base64) && length >= 24 && length <= 64
}
