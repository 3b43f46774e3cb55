import { createHmac, timingSafeEqual } from 'node:crypto'

/** What the headers of a webhook say, by Standard Webhooks 1.0. */
export interface WebhookSignature {
  id: string
  /** seconds since 1970, as they were sent */
  timestamp: string
  /** HMAC-SHA256, 32 bytes each: several while a secret is being replaced */
  signatures: Buffer[]
}

/** How far from now a webhook's time may be, in seconds. */
const tolerance = 5 * 60

/** @returns undefined where a header is missing or malformed, or the time is more than 5 minutes from now: such a webhook is forged whatever its body is */
export function readSignature (headers: Record<string, string | string[] | undefined>): WebhookSignature | undefined {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = headers
  if (typeof id !== 'string' || typeof timestamp !== 'string' || typeof signature !== 'string') return undefined
  if (id === '' || !/^\d{1,12}$/.test(timestamp)) return undefined
  if (Math.abs(Math.floor(Date.now() / 1000) - Number(timestamp)) > tolerance) return undefined
  const signatures = signature.split(' ')
    .filter((part) => /^v1,[A-Za-z0-9+/]{43}=$/.test(part))
    .map((part) => Buffer.from(part.slice(3), 'base64'))
  return signatures.length === 0 ? undefined : { id, timestamp, signatures }
}

/**
 * Whether one of the signatures covers the body. By `node:crypto`: the package `standardwebhooks` hashes in JavaScript, and
 * the 8 MiB of one forged webhook would keep the event loop busy for more than half a second.
 * @param secret `whsec_` and the key in base64
 */
export function isSigned (body: Buffer, { id, timestamp, signatures }: WebhookSignature, secret: string): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest()
  return signatures.some((signature) => timingSafeEqual(signature, expected))
}
