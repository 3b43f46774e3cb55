import {
  callbackAttempted, callbackOutcomes, copyOutcomes, removedKinds, retentionRan, retentionWorks, thingsRemoved, videoCopied
} from '../../services/telemetry/channels.ts'
import { toSeconds, type Metrics } from './metrics.ts'

const callbackBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const copyBuckets = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/** Measures what follows the generation: copies of videos, callbacks, and the removal of what has expired. */
export function measureDelivery (metrics: Metrics): void {
  const copies = metrics.counter({
    name: 'dreamreel_video_copies_total',
    help: 'Attempts to copy a video into the archive. Outcome: stored, present (an earlier attempt had stored it), gone, no_video or too_large (refused for good), unavailable (tried again), interrupted (by the deadline, a cancel or a stop)',
    labels: { outcome: copyOutcomes }
  })
  const copiedBytes = metrics.counter({ name: 'dreamreel_video_copied_bytes_total', help: 'Bytes of the videos that were copied into the archive' })
  const copyTimes = metrics.histogram({ name: 'dreamreel_video_copy_duration_seconds', help: 'Time that a copy has taken that stored a video', buckets: copyBuckets })
  const callbacks = metrics.counter({
    name: 'dreamreel_callback_attempts_total',
    help: 'Attempts to call a callback_url. Outcome: delivered, gone (the receiver answered 410), retried (there will be another attempt), exhausted (this was the last one)',
    labels: { outcome: callbackOutcomes }
  })
  const callbackTimes = metrics.histogram({ name: 'dreamreel_callback_duration_seconds', help: 'Time that an attempt to call a callback_url has taken', buckets: callbackBuckets })
  const retentionRuns = metrics.counter({
    name: 'dreamreel_retention_runs_total', help: 'Runs on this instance that remove expired tasks, or orphans of the archive', labels: { work: retentionWorks, outcome: ['done', 'failed'] }
  })
  const removed = metrics.counter({
    name: 'dreamreel_retention_removed_total', help: 'What these runs have removed: expired tasks, files that no task names, and interrupted writes', labels: { kind: removedKinds }
  })
  metrics.on(videoCopied, ({ outcome, bytes, ms }) => {
    copies.inc({ outcome })
    copiedBytes.inc(bytes)
    if (outcome === 'stored') copyTimes.observe(toSeconds(ms))
  })
  metrics.on(callbackAttempted, ({ outcome, ms }) => {
    callbacks.inc({ outcome })
    callbackTimes.observe(toSeconds(ms))
  })
  metrics.on(retentionRan, ({ work, outcome }) => retentionRuns.inc({ work, outcome }))
  metrics.on(thingsRemoved, ({ kind, count }) => removed.inc({ kind }, count))
}
