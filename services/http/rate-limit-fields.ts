/** A limit, and how much of it is left. */
export interface LimitStatus {
  /** the name of the limit, of letters and underscores */
  name: string
  /** the maximum number of requests in a window */
  limit: number
  windowSeconds: number
  remaining: number
  /** seconds until the window is over */
  resetSeconds: number
}

/** @returns the header fields of https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-11 */
export function rateLimitFields (limits: LimitStatus[]): Record<'ratelimit-policy' | 'ratelimit', string> {
  return {
    'ratelimit-policy': limits.map(({ name, limit, windowSeconds }) => `"${name}";q=${limit};w=${windowSeconds}`).join(', '),
    ratelimit: limits.map(({ name, remaining, resetSeconds }) => `"${name}";r=${remaining};t=${resetSeconds}`).join(', ')
  }
}
