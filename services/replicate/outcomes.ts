import type { Exchange, HttpResponse } from '../net/http-exchange.ts'
import { isWebhookSecret } from '../net/webhook-secret.ts'
import { parsePrediction, type Prediction } from './prediction.ts'
import { classifyCreate, failureFromAnswer, failureFromError, isSuccess, parseJson, type UpstreamFailure } from './replicate-failure.ts'

/**
 * - `created`: Replicate has created this prediction
 * - `refused`: certainly no prediction, and another attempt would fail too
 * - `deferred`: certainly no prediction; a later attempt may succeed
 * - `unknown`: there may be a prediction
 * - `withdrawn`: nothing was sent, because of `shouldSend` or the signal
 */
export type CreateOutcome =
  | { outcome: 'created', prediction: Prediction }
  | { outcome: 'refused' | 'deferred' | 'unknown', failure: UpstreamFailure }
  | { outcome: 'withdrawn' }

export type ReadOutcome =
  | { outcome: 'found', prediction: Prediction }
  | { outcome: 'missing' | 'unavailable', failure: UpstreamFailure }

export type ListOutcome =
  | { outcome: 'page', predictions: Prediction[], next: string | null }
  | { outcome: 'unavailable', failure: UpstreamFailure }

export type AccountOutcome =
  | { outcome: 'accepted' }
  | { outcome: 'unavailable', failure: UpstreamFailure }

export type SecretOutcome =
  | { outcome: 'found', secret: string }
  | { outcome: 'unavailable', failure: UpstreamFailure }

export type Unavailable = { outcome: 'unavailable', failure: UpstreamFailure }
export type CallOutcome = { outcome: 'answered', response: HttpResponse } | Unavailable

/** Without a response, the outcome depends on whether the request was sent. */
export function parseCreateOutcome (sent: Exchange): CreateOutcome {
  switch (sent.outcome) {
    case 'answered': return parseCreateAnswer(sent.response)
    case 'failed': return { outcome: sent.sent ? 'unknown' : 'deferred', failure: failureFromError(sent.error) }
    case 'withdrawn': return sent
  }
}

function parseCreateAnswer (answer: HttpResponse): CreateOutcome {
  const prediction = parsePredictionAnswer(answer)
  if (prediction !== undefined) return { outcome: 'created', prediction }
  return { outcome: classifyCreate(answer), failure: failureFromAnswer(answer) }
}

/** A prediction with another id is not an answer. */
export function parseReadOutcome (id: string, called: CallOutcome): ReadOutcome {
  if (called.outcome !== 'answered') return called
  const prediction = parsePredictionAnswer(called.response)
  if (prediction?.id === id) return { outcome: 'found', prediction }
  const failure = failureFromAnswer(called.response)
  return { outcome: called.response.status === 404 ? 'missing' : 'unavailable', failure }
}

/** A page whose `next` cannot be read is unavailable: a reader of all pages must not take it for the last one. */
export function parseListOutcome (called: CallOutcome): ListOutcome {
  if (called.outcome !== 'answered') return called
  const { response } = called
  const page = isSuccess(response) ? parseJson(response.body) : undefined
  if (!isPage(page)) return unavailable(failureFromAnswer(response))
  const predictions = page.results.map(parsePrediction).filter((prediction) => prediction !== undefined)
  return { outcome: 'page', predictions, next: page.next ?? null }
}

export function parseAccountOutcome (called: CallOutcome): AccountOutcome {
  if (called.outcome !== 'answered') return called
  return isSuccess(called.response) ? { outcome: 'accepted' } : unavailable(failureFromAnswer(called.response))
}

export function parseSecretOutcome (called: CallOutcome): SecretOutcome {
  if (called.outcome !== 'answered') return called
  const said = isSuccess(called.response) ? parseJson(called.response.body) : undefined
  if (typeof said !== 'object' || said === null || !('key' in said) || typeof said.key !== 'string' || !isWebhookSecret(said.key)) {
    return unavailable(failureFromAnswer(called.response))
  }
  return { outcome: 'found', secret: said.key }
}

export function unavailable (failure: UpstreamFailure): Unavailable {
  return { outcome: 'unavailable', failure }
}

function isPage (page: unknown): page is { results: unknown[], next?: string | null } {
  if (typeof page !== 'object' || page === null || !('results' in page) || !Array.isArray(page.results)) return false
  return !('next' in page) || page.next === null || typeof page.next === 'string'
}

function parsePredictionAnswer (answer: HttpResponse): Prediction | undefined {
  return isSuccess(answer) ? parsePrediction(parseJson(answer.body)) : undefined
}
