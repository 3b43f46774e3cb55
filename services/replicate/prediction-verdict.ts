import { findVideo } from './prediction-output.ts'
import { progressOf } from './prediction-progress.ts'
import type { Prediction } from './prediction.ts'
import { boundedWords, codeOfWords } from './replicate-failure.ts'
import type { TaskFailureCode } from '../tasks/task-failure.ts'

/** What a prediction means for its task. `words` are the provider's or ours, for the log only. */
export type PredictionVerdict =
  | { verdict: 'running', progress: number | null }
  | { verdict: 'succeeded', videoUrl: string }
  | { verdict: 'failed', code: TaskFailureCode, words: string }

export interface VerdictContext {
  /** the address of Replicate's API, which says whose files are believed */
  apiUrl: string
  /** ms since the epoch, both */
  now: number
  deadlineAt: number
}

/**
 * `Cancel-After` counts whole seconds from the creation by Replicate's clock, so it can strike a little before our
 * deadline: up to one second lost in rounding, and another for clocks that differ.
 */
const deadlineToleranceMs = 2_000

/** A status that nobody has heard of is not final: the deadline ends what never ends. */
export function predictionVerdict (prediction: Prediction, context: VerdictContext): PredictionVerdict {
  switch (prediction.status) {
    case 'succeeded': return verdictOfSuccess(prediction, context)
    case 'failed': return verdictOfFailure(prediction)
    case 'canceled':
    case 'aborted': return verdictOfCancel(prediction, context)
    default: return { verdict: 'running', progress: progressOf(prediction.logs) }
  }
}

function verdictOfSuccess ({ output, dataRemoved }: Prediction, { apiUrl }: VerdictContext): PredictionVerdict {
  if (dataRemoved) return failed('no_output', 'Succeeded, but its files are wiped')
  const video = findVideo(output, apiUrl)
  switch (video.found) {
    case 'video': return { verdict: 'succeeded', videoUrl: video.url }
    case 'foreign': return failed('provider_error', `Succeeded with a file on a host that is not believed: ${video.url}`)
    case 'nothing': return failed('no_output', 'Succeeded without a video')
  }
}

function verdictOfFailure ({ error }: Prediction): PredictionVerdict {
  const words = error ?? 'Failed without saying why'
  return failed(codeOfWords(words) ?? 'provider_error', words)
}

/** Nobody here asked for it: a task that was cancelled here has ended already and is not judged any more. */
function verdictOfCancel ({ status, error }: Prediction, { now, deadlineAt }: VerdictContext): PredictionVerdict {
  const overdue = now >= deadlineAt - deadlineToleranceMs
  return failed(overdue ? 'deadline_exceeded' : 'provider_error', error ?? `The prediction is ${status}`)
}

function failed (code: TaskFailureCode, words: string): PredictionVerdict {
  return { verdict: 'failed', code, words: boundedWords(words) }
}
