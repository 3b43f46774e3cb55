import type { HttpResponse } from '../net/http-exchange.ts'
import { parseRetryAfter, secondsToMs } from '../net/retry-after.ts'
import type { ReportedLimit } from '../rate-limit/call-limiter.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'
import { stringifySafely } from './prediction.ts'

/** What went wrong at Replicate or on the way to it, as the rest of the service sees it. */
export interface UpstreamFailure {
  code: TaskFailureCode
  /** of HTTP; null where there was no answer */
  status: number | null
  /** The provider's message, at most 500 characters: for the log, never for a client. */
  message: string
  /** how long the provider asks us to wait, at most ten minutes */
  retryAfterMs: number | null
}

/** What an answer means for a create: `refused` and `deferred` are certain that nothing was made, `unknown` is not. */
export type CreateCertainty = 'refused' | 'deferred' | 'unknown'

interface Meaning { code: TaskFailureCode, create: CreateCertainty }

/**
 * Every status that is no success. A complete answer of 4xx is certain whatever its body, also a proxy's HTML: it was
 * turned away before anything was made. 408 is not: it says that the server has timed out, but not at what.
 */
const meanings: Record<number, Meaning> = {
  400: { code: 'invalid_input', create: 'refused' },
  401: { code: 'provider_account', create: 'deferred' },
  402: { code: 'provider_account', create: 'deferred' },
  403: { code: 'provider_account', create: 'deferred' },
  404: { code: 'provider_account', create: 'refused' }, // a model that this account cannot see
  408: { code: 'provider_unavailable', create: 'unknown' },
  413: { code: 'invalid_input', create: 'refused' },
  422: { code: 'invalid_input', create: 'refused' },
  429: { code: 'provider_rate_limited', create: 'deferred' }
}
const otherMeanings: Record<number, Meaning> = {
  3: { code: 'provider_error', create: 'unknown' },
  4: { code: 'provider_error', create: 'refused' },
  5: { code: 'provider_unavailable', create: 'unknown' }
}
const unreadable: Meaning = { code: 'provider_error', create: 'unknown' }

/** What the message of a failed prediction or response means; the first pattern that matches counts. */
const messagePatterns: { pattern: RegExp, code: TaskFailureCode }[] = [
  { pattern: /\bE005\b/, code: 'content_policy' },
  { pattern: /\(code: PA\)/i, code: 'provider_unavailable' },
  { pattern: /\bE(1001|6716)\b/, code: 'provider_error' }, // out of memory, not started in time
  { pattern: /\bnsfw\b|(?<!case[ -])\bsensitive\b|\bmoderat(ed|ion)\b|\bcontent[ _-]polic/i, code: 'content_policy' }
]

const maxMessageLength = 500
const maxRetryAfterMs = 600_000

/** The failure code that a message of Replicate stands for; undefined for an unknown message. */
export function classifyMessage (message: string): TaskFailureCode | undefined {
  return messagePatterns.find(({ pattern }) => pattern.test(message))?.code
}

export function truncateMessage (message: string): string {
  return message.replace(/\s+/g, ' ').trim().slice(0, maxMessageLength)
}

/** What an answer that is no success means for a create. A success is `unknown`: it is asked where it is unreadable. */
export function classifyCreate ({ status }: HttpResponse): CreateCertainty {
  return lookUpMeaning(status).create
}

export function isSuccess ({ status }: HttpResponse): boolean {
  return isSuccessStatus(status)
}

export function isSuccessStatus (status: number | null): boolean {
  return status !== null && status >= 200 && status < 300
}

/** The failure of a complete response: an error, or a success that cannot be used. */
export function failureFromAnswer (answer: HttpResponse): UpstreamFailure {
  const { status, headers, body } = answer
  const problem = parseJson(body)
  const message = extractMessage(answer, problem)
  const { code } = lookUpMeaning(status)
  return {
    code: code === 'invalid_input' && classifyMessage(message) === 'content_policy' ? 'content_policy' : code,
    status,
    message: truncateMessage(message) || `An empty answer of status ${status}`,
    retryAfterMs: readRetryDelay(headers, problem)
  }
}

/** The failure of a request without a complete response. */
export function failureFromError (error: Error): UpstreamFailure {
  const code = 'code' in error ? `${error.code}: ` : ''
  return { code: 'provider_unavailable', status: null, message: truncateMessage(code + error.message), retryAfterMs: null }
}

/** What any response, also a success, says about the rate limit. */
export function parseRateLimit ({ status, headers, body }: HttpResponse): ReportedLimit {
  const isAsking = status === 429 || status === 503
  return {
    exceeded: status === 429,
    remaining: parseWholeNumber(headers['ratelimit-remaining']),
    resetMs: clampDelay(secondsToMs(headers['ratelimit-reset'])),
    retryAfterMs: isAsking ? readRetryDelay(headers, parseJson(body)) : null
  }
}

/** @returns undefined for invalid JSON, which no valid JSON gives */
export function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function lookUpMeaning (status: number): Meaning {
  return meanings[status] ?? otherMeanings[Math.floor(status / 100)] ?? unreadable
}

/** The body of an unusable success is not quoted: it can be another prediction, with a dream in it. */
function extractMessage (answer: HttpResponse, problem: unknown): string {
  if (isSuccess(answer)) return `An answer of status ${answer.status} and ${answer.body.length} characters is of no use`
  return extractProblemMessage(problem) ?? answer.body
}

function extractProblemMessage (problem: unknown): string | undefined {
  if (typeof problem !== 'object' || problem === null) return undefined
  const { title, detail, invalid_fields: fields } = problem as { [member: string]: unknown }
  const parts = [title, detail].filter((message) => typeof message === 'string')
  if (Array.isArray(fields)) parts.push(stringifySafely(fields))
  return parts.length > 0 ? parts.join(': ') : undefined
}

function readRetryDelay (headers: HttpResponse['headers'], problem: unknown): number | null {
  return clampDelay(parseRetryAfter(headers) ?? parseBodyDelay(problem) ?? parseLimitDelay(headers))
}

function clampDelay (ms: number | undefined): number | null {
  return ms === undefined ? null : Math.min(Math.max(0, Math.ceil(ms)), maxRetryAfterMs)
}

function parseWholeNumber (text: unknown): number | null {
  return typeof text === 'string' && /^\d{1,9}$/.test(text) ? Number(text) : null
}

function parseBodyDelay (problem: unknown): number | undefined {
  if (typeof problem !== 'object' || problem === null || !('retry_after' in problem)) return undefined
  return secondsToMs(problem.retry_after)
}

function parseLimitDelay (headers: HttpResponse['headers']): number | undefined {
  return headers['ratelimit-remaining'] === '0' ? secondsToMs(headers['ratelimit-reset']) : undefined
}
