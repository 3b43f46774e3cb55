import type { TaskFailureCode } from '../tasks/task-failure.ts'
import { findPoster, findVideo } from './prediction-output.ts'
import { parseProgress } from './prediction-progress.ts'
import type { Prediction } from './prediction.ts'
import { truncateMessage, classifyMessage } from './replicate-failure.ts'

/** What a prediction means for its task. `message` is the provider's or ours, for the log only. */
export type PredictionVerdict =
  | { verdict: 'running', progress: number | null }
  | { verdict: 'succeeded', videoUrl: string, posterUrl: string | null }
  | { verdict: 'failed', code: TaskFailureCode, message: string }

export interface VerdictContext {
  /** the address of Replicate's API, which says whose files are trusted */
  apiUrl: string
  /** ms since the epoch, both */
  now: number
  deadlineAt: number
}

/**
 * `Cancel-After` counts whole seconds from the creation by Replicate's clock, so it can take effect a little before our
 * deadline: up to one second lost in rounding, and another for clocks that differ.
 */
const deadlineToleranceMs = 2_000

/** An unknown status is not final; the deadline ends a task whose prediction never ends. */
export function judgePrediction (prediction: Prediction, context: VerdictContext): PredictionVerdict {
  switch (prediction.status) {
    case 'succeeded': return judgeSuccess(prediction, context)
    case 'failed': return judgeFailure(prediction)
    case 'canceled':
    case 'aborted': return judgeCancel(prediction, context)
    default: return { verdict: 'running', progress: parseProgress(prediction.logs) }
  }
}

function judgeSuccess ({ output, dataRemoved }: Prediction, { apiUrl }: VerdictContext): PredictionVerdict {
  if (dataRemoved) return failed('no_output', 'Succeeded, but its files are removed')
  const video = findVideo(output, apiUrl)
  switch (video.found) {
    case 'video': return { verdict: 'succeeded', videoUrl: video.url, posterUrl: findPoster(output, apiUrl) }
    case 'untrusted': return failed('provider_error', `Succeeded with a file on a host that is not trusted: ${video.url}`)
    case 'nothing': return failed('no_output', 'Succeeded without a video')
  }
}

function judgeFailure ({ error }: Prediction): PredictionVerdict {
  const message = error ?? 'Failed without saying why'
  return failed(classifyMessage(message) ?? 'provider_error', message)
}

/** This service has not asked for the cancel: a task that was canceled here has ended and is not judged any more. */
function judgeCancel ({ status, error }: Prediction, { now, deadlineAt }: VerdictContext): PredictionVerdict {
  const overdue = now >= deadlineAt - deadlineToleranceMs
  return failed(overdue ? 'deadline_exceeded' : 'provider_error', error ?? `The prediction is ${status}`)
}

function failed (code: TaskFailureCode, message: string): PredictionVerdict {
  return { verdict: 'failed', code, message: truncateMessage(message) }
}
