/**
 * Why a task can fail: the stable codes of `error_code` and the sentence a client reads in `error`.
 * The provider's own messages never appear here; they go to the log.
 */
export const taskFailureSentences = {
  content_policy: 'The provider’s content policy does not allow a video of this dream. Describe it differently and try again.',
  invalid_input: 'The provider could not make a video from this dream. Describe it differently and try again.',
  provider_rate_limited: 'The video provider had no capacity for this dream in time. Try again later.',
  provider_unavailable: 'The video provider could not be reached or interrupted the work. Try again later.',
  provider_account: 'The video service cannot use its provider at the moment. Try again later.',
  provider_error: 'The video provider failed to make this video. Try again.',
  no_output: 'The video provider finished without a video. Try again.',
  deadline_exceeded: 'The video was not ready in time. Try again.',
  canceled: 'The video was canceled.',
  submission_unknown: 'The connection to the video provider broke while this dream was being submitted, so it was not submitted again. Try again.',
  storage_failed: 'The finished video could not be stored. Try again.'
} as const

export type TaskFailureCode = keyof typeof taskFailureSentences

export const taskFailureCodes = Object.keys(taskFailureSentences) as TaskFailureCode[]
