import type { JobRunner } from '../../services/generation/job-runner.ts'
import type { SubmissionGate } from '../../services/generation/submission-gate.ts'
import type { ReplicateClient } from '../../services/replicate/replicate-client.ts'
import { breakerStates } from '../../services/runtime/circuit-breaker.ts'
import { callOutcomes, predictionsSwept, replicateAnswerUnusable, replicateCallEnded, replicateCalls, sweepOutcomes } from '../../services/telemetry/channels.ts'
import { toSeconds, type Metrics } from './metrics.ts'

const callBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20]
const sweepBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

export interface ReplicateSources {
  replicate: Pick<ReplicateClient, 'creates' | 'reads'>
  submissionGate: Pick<SubmissionGate, 'breakerState' | 'size'>
  generationJobs: Pick<JobRunner, 'inFlight'>
}

/** Measures the calls to Replicate, and what delays them. */
export function measureReplicate (metrics: Metrics, { replicate, submissionGate, generationJobs }: ReplicateSources): void {
  measureCalls(metrics)
  const limiters = { create: replicate.creates, read: replicate.reads }
  const limiter = { limiter: Object.keys(limiters) }
  const waiting = metrics.gauge({ name: 'dreamreel_replicate_limiter_waiting_calls', help: 'Calls that wait until the rate limit lets them pass: creates, and all others', labels: limiter })
  const paused = metrics.gauge({ name: 'dreamreel_replicate_limiter_paused', help: 'Whether calls are paused, because Replicate reports that its limit is used up: 1 or 0', labels: limiter })
  const breaker = metrics.gauge({
    name: 'dreamreel_submission_breaker_state',
    help: '1 for the state of the circuit breaker of submissions, 0 for the others. It is open while Replicate is unavailable or refuses the account',
    labels: { state: breakerStates }
  })
  const gate = metrics.gauge({ name: 'dreamreel_submission_gate_tasks', help: 'Tasks of this instance that wait to be submitted or are being submitted' })
  const inFlight = metrics.gauge({ name: 'dreamreel_jobs_in_flight', help: 'Tasks that this instance works on and that count against MAX_IN_FLIGHT' })
  metrics.beforeScrape(() => {
    for (const [name, { waiting: calls, isBlocked }] of Object.entries(limiters)) {
      waiting.set({ limiter: name }, calls)
      paused.set({ limiter: name }, isBlocked ? 1 : 0)
    }
    for (const state of breakerStates) breaker.set({ state }, state === submissionGate.breakerState ? 1 : 0)
    gate.set(submissionGate.size)
    inFlight.set(generationJobs.inFlight)
  })
}

function measureCalls (metrics: Metrics): void {
  const calls = metrics.counter({
    name: 'dreamreel_replicate_calls_total',
    help: 'Calls to Replicate. Outcome: ok (2xx), rate_limited (429), refused (another status below 500), server_error, no_answer, withdrawn (nothing was sent)',
    labels: { call: replicateCalls, outcome: callOutcomes }
  })
  const unusable = metrics.counter({
    name: 'dreamreel_replicate_unusable_answers_total', help: 'Answers of Replicate with a status of success whose body the service could not use', labels: { call: replicateCalls }
  })
  const durations = metrics.histogram({
    name: 'dreamreel_replicate_call_duration_seconds',
    help: 'Time from sending a call to Replicate to the last byte of its answer, without the wait for the rate limit',
    labels: { call: replicateCalls },
    buckets: callBuckets
  })
  const sweeps = metrics.counter({
    name: 'dreamreel_prediction_sweeps_total',
    help: 'Sweeps over Replicate’s list that this instance has made. Outcome: incomplete if a page could not be read',
    labels: { outcome: sweepOutcomes }
  })
  const sweepTimes = metrics.histogram({ name: 'dreamreel_prediction_sweep_duration_seconds', help: 'Time that a sweep over Replicate’s list has taken', buckets: sweepBuckets })
  metrics.on(replicateCallEnded, ({ call, outcome, ms }) => {
    calls.inc({ call, outcome })
    if (ms !== null) durations.observe({ call }, toSeconds(ms))
  })
  metrics.on(replicateAnswerUnusable, ({ call }) => unusable.inc({ call }))
  metrics.on(predictionsSwept, ({ outcome, ms }) => {
    sweeps.inc({ outcome })
    sweepTimes.observe(toSeconds(ms))
  })
}
