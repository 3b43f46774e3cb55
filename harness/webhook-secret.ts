import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { Webhook } from 'standardwebhooks'

/** A new secret of Standard Webhooks: `whsec_` and 32 random bytes in base64. */
export function newWebhookSecret (): string {
  return `whsec_${randomBytes(32).toString('base64')}`
}

/**
 * Reads a message as a receiver with this secret does.
 * @returns the parsed body
 * @throws Error if the signature does not match, or if the timestamp is too far away
 */
export function verifyWebhook (secret: string, { headers, body }: { headers: IncomingHttpHeaders, body: string }): unknown {
  const texts = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
  return new Webhook(secret).verify(body, texts)
}
