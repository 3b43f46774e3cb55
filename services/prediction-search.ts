import { isDeepStrictEqual } from 'node:util'
import { parseModel } from './models.ts'
import type { Prediction } from './prediction.ts'
import type { ReplicateClient } from './replicate-client.ts'
import { failureOfBreak, type UpstreamFailure } from './replicate-failure.ts'
import type { Submission } from './task.ts'

/**
 * What one look at the provider's list showed. `found` is complete: no candidates means that, at the moment of the
 * look, there was no prediction that could be the submission's.
 */
export type Look =
  | { outcome: 'found', candidates: Prediction[] }
  | { outcome: 'unavailable', failure: UpstreamFailure }

export interface SearchSpan {
  /** ms after the mark until which its request may have arrived */
  submissionMs: number
  signal: AbortSignal
}

/** How far the provider's clock may be from ours. */
const skewMs = 120_000
/** Of 100 predictions each: ten times what an account can make in that time. */
const mostPages = 300

/**
 * Looks for the prediction of a submission whose outcome is not known. Whatever is certainly somebody else's is left
 * out: of another model or input, made by hand on the web, or with a webhook that is not the submission's. What was
 * made for the same dream without webhooks cannot be told apart: who binds it first has it.
 * @returns candidates, those that name the submission's webhook first, then in the order of their creation
 */
export async function findSubmitted (submission: Submission, replicate: ReplicateClient, { submissionMs, signal }: SearchSpan): Promise<Look> {
  const candidates: Prediction[] = []
  const createdAfter = submission.startedAt - skewMs
  const createdBefore = submission.startedAt + submissionMs + skewMs
  let pages = 0
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await replicate.list({ createdAfter, createdBefore, cursor }, { signal })
    if (page.outcome !== 'page') return page
    for (const listed of page.predictions.filter((prediction) => couldBe(prediction, submission))) {
      // Whether the items of a list carry the webhook is not documented; the prediction itself does.
      const read = listed.webhook === null ? await replicate.get(listed.id, { signal }) : { outcome: 'found', prediction: listed } as const
      if (read.outcome !== 'found') return { outcome: 'unavailable', failure: read.failure }
      if (couldBe(read.prediction, submission)) candidates.push(read.prediction)
    }
    cursor = page.next
    if (++pages === mostPages) return { outcome: 'unavailable', failure: failureOfBreak(new Error('The list has no end')) }
  }
  return { outcome: 'found', candidates: candidates.reverse().sort((a, b) => rank(a, submission) - rank(b, submission)) }
}

function couldBe (prediction: Prediction, { model, input, webhook }: Submission): boolean {
  return prediction.source !== 'web' &&
    (prediction.webhook === null || prediction.webhook === webhook) &&
    isOfModel(prediction, model) &&
    Object.entries(input).every(([name, value]) => isDeepStrictEqual(prediction.input?.[name], value))
}

function isOfModel (prediction: Prediction, model: string): boolean {
  const parsed = parseModel(model)
  if (!parsed.ok) return false
  const name = `${parsed.owner}/${parsed.name}`.toLowerCase()
  if (prediction.model !== null && prediction.model.toLowerCase() !== name) return false
  return parsed.version === undefined || prediction.version === null || prediction.version === parsed.version
}

/** What was cancelled may have been the unwanted one of a task that ended; it is better than nothing, and last. */
function rank ({ webhook, status }: Prediction, submission: Submission): number {
  const isCanceled = status === 'canceled' || status === 'aborted'
  return (webhook !== null && webhook === submission.webhook ? 0 : 1) + (isCanceled ? 2 : 0)
}
