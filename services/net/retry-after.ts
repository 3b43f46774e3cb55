import type { HttpResponse } from './http-exchange.ts'

/**
 * The ms that an answer's `Retry-After` asks for, in seconds or as a date. A date is compared with the answer's own, so
 * that a wrong clock here does no harm; one that has passed is below 0.
 */
export function parseRetryAfter (headers: HttpResponse['headers']): number | undefined {
  const header = headers['retry-after']
  if (typeof header !== 'string') return undefined
  if (!header.endsWith('GMT')) return secondsToMs(header)
  const until = Date.parse(header)
  const since = Date.parse(String(headers.date))
  return Number.isNaN(until) ? undefined : until - (Number.isNaN(since) ? Date.now() : since)
}

export function secondsToMs (seconds: unknown): number | undefined {
  if (typeof seconds !== 'string' && typeof seconds !== 'number') return undefined
  return /^\d{1,12}(\.\d+)?$/.test(String(seconds)) ? Number(seconds) * 1000 : undefined
}
