import type { Exchange, HttpResponse } from '../net/http-exchange.ts'
import { parsePrediction, type Prediction } from './prediction.ts'
import { isWebhookSecret } from '../net/webhook-secret.ts'
import { classifyCreate, failureFromAnswer, failureFromError, isSuccess, parseJson, type UpstreamFailure } from './replicate-failure.ts'

/**
 * - `created`: there is a prediction, and this is it
 * - `refused`: certain that there is none, and asking again is no use
 * - `deferred`: certain that there is none; it may be asked for again later
 * - `unknown`: there may be one
 * - `withdrawn`: nothing was sent, as `shouldSend` or the signal said
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

/** What became of a create; where there is no answer, only whether it was sent tells. */
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

/** A prediction with another id than asked for answers nothing. */
export function parseReadOutcome (id: string, called: CallOutcome): ReadOutcome {
  if (called.outcome !== 'answered') return called
  const prediction = parsePredictionAnswer(called.response)
  if (prediction?.id === id) return { outcome: 'found', prediction }
  const failure = failureFromAnswer(called.response)
  return { outcome: called.response.status === 404 ? 'missing' : 'unavailable', failure }
}

/** A page whose `next` cannot be read is not taken for the last one: whoever searches all pages must not stop there. */
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
