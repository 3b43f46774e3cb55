import type { HttpResponse } from './http-exchange.ts'

/**
 * Parses `Retry-After`, which is a number of seconds or a date. A date is compared with the `Date` of the response, so that a wrong
 * clock on this machine does not matter.
 * @returns ms, negative for a date in the past; undefined if there is no valid header
 */
export function parseRetryAfter (headers: HttpResponse['headers']): number | undefined {
  const header = headers['retry-after']
  if (typeof header !== 'string') return undefined
  if (!header.endsWith('GMT')) return secondsToMs(header)
  const until = Date.parse(header)
  const since = Date.parse(String(headers.date))
  return Number.isNaN(until) ? undefined : until - (Number.isNaN(since) ? Date.now() : since)
}

/** @returns the ms of a non-negative number of seconds; undefined for anything else */
export function secondsToMs (seconds: unknown): number | undefined {
  if (typeof seconds !== 'string' && typeof seconds !== 'number') return undefined
  return /^\d{1,12}(\.\d+)?$/.test(String(seconds)) ? Number(seconds) * 1000 : undefined
}
