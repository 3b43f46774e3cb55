import { matchesEtag } from './etag.ts'

/** What tells one version of a response from another. */
export interface Validators {
  /** strong, in its quotes */
  etag: string
  /** ms since the epoch, in whole seconds */
  lastModified: number
}

/** By lower-case name. */
type Headers = Record<string, string | string[] | undefined>

/**
 * Evaluates the preconditions of a GET or HEAD request in the order that RFC 9110, section 13.2.2, demands. A date that cannot be parsed
 * is ignored.
 * @returns `failed` for a response with 412, `not_modified` for one with 304
 */
export function evaluatePreconditions (headers: Headers, { etag, lastModified }: Validators): 'met' | 'failed' | 'not_modified' {
  const ifMatch = textOf(headers['if-match'])
  if (ifMatch === undefined ? parseDate(headers['if-unmodified-since']) < lastModified : !matchesStrongly(ifMatch, etag)) return 'failed'
  const ifNoneMatch = textOf(headers['if-none-match'])
  const isCurrent = ifNoneMatch === undefined ? parseDate(headers['if-modified-since']) >= lastModified : matchesEtag(ifNoneMatch, etag)
  return isCurrent ? 'not_modified' : 'met'
}

/** Whether a `Range` may be answered with a part: the client has parts of the version that `If-Range` names, or names none. */
export function isRangeCurrent (headers: Headers, { etag, lastModified }: Validators): boolean {
  const ifRange = textOf(headers['if-range'])
  return ifRange === undefined || ifRange === etag || parseDate(ifRange) === lastModified
}

/** `If-Match`: unlike with `If-None-Match`, weak tags never match. */
function matchesStrongly (ifMatch: string, etag: string): boolean {
  return ifMatch.split(',').some((entry) => entry.trim() === '*' || entry.trim() === etag)
}

/** @returns ms since the epoch; NaN, which compares as false with every number, for anything that is not a date of HTTP */
function parseDate (header: string | string[] | undefined): number {
  const text = textOf(header)
  return text !== undefined && / GMT$/.test(text) ? Date.parse(text) : NaN
}

function textOf (header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}
