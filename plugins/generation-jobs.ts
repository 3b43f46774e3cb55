import fp from 'fastify-plugin'
import { endOverdue, generateVideo } from '../services/generation/generate-video.ts'
import { JobRunner } from '../services/generation/job-runner.ts'
import { PredictionWatch } from '../services/generation/prediction-watch.ts'
import { SubmissionGate } from '../services/generation/submission-gate.ts'
import { SubmissionSearch } from '../services/generation/submission-search.ts'
import { VideoBacklog } from '../services/generation/video-backlog.ts'
import { TaskSubscriptions } from '../services/live-status/task-subscriptions.ts'
import type { StyleModels } from '../services/replicate/models.ts'
import { RepeatedFailure } from '../services/runtime/repeated-failure.ts'
import { inTrace } from '../services/telemetry/trace-context.ts'
import { VideoCopier } from '../services/videos/video-copier.ts'

declare module 'fastify' {
  interface FastifyInstance {
    generationJobs: JobRunner
    predictionWatch: PredictionWatch
    submissionGate: SubmissionGate
  }
}

export interface GenerationJobsOptions {
  models: StyleModels
  replicateApiUrl: string
  maxInFlight: number
  videoCopiesAtOnce: number
  pollIntervalMs: number
  sweepThreshold: number
  createTimeoutMs: number
  listLagMs: number
  now: () => number
}

const claimIntervalMs = 1_000
/** Creates in progress when the instance dies have to be searched for, so their number is limited. Far fewer use up the rate limit. */
const maxConcurrentCreates = 32
/** Enough to keep the gate busy; claiming more costs a shared database without any benefit. */
const maxAtGate = 2 * maxConcurrentCreates
/** Longer than a create takes, together with the transition that stores its outcome. */
const safePointTime = { byMs: 21_000 }
/** With webhooks, polling is only a fallback. */
const minFallbackPollMs = 60_000
const backlogIntervalMs = 5_000

/** Generates the videos of all open tasks in the background, from the moment the instance is ready until it closes. */
export default fp<GenerationJobsOptions>(async (app, { maxInFlight, videoCopiesAtOnce, pollIntervalMs, sweepThreshold, ...options }) => {
  const { createTimeoutMs, now } = options
  const { taskStore, replicate, replicateWebhooks, providerClock, videoArchive, videoDownloader, frameExtractor, log } = app
  const stopping = new AbortController()
  const { signal } = stopping
  const fallbackPollMs = Math.max(pollIntervalMs, minFallbackPollMs)
  const predictionWatch = new PredictionWatch({ replicate, taskStore, pollIntervalMs, fallbackPollMs, sweepThreshold, now, log, signal })
  const submissionGate = new SubmissionGate({ replicate, maxConcurrent: maxConcurrentCreates, onCapacity: () => app.generationJobs.wake(), log, signal })
  const intentTtlMs = createTimeoutMs / 3
  const submissionSearch = new SubmissionSearch({ ...options, taskStore, replicate, providerClock, intentTtlMs, log, signal })
  const taskChanges = new TaskSubscriptions()
  const webhookFor = (taskId: string) => replicateWebhooks.urlFor(taskId)
  const videoCopier = new VideoCopier({ archive: videoArchive, downloader: videoDownloader, maxConcurrent: videoCopiesAtOnce })
  const copyFailure = new RepeatedFailure(log, {
    failed: 'A video cannot be stored at the moment; trying again until it can', succeeded: 'Videos can be stored again'
  })
  const videoBacklog = new VideoBacklog({ taskStore, videoCopier, videoArchive, videoDownloader, frameExtractor, maxConcurrent: videoCopiesAtOnce, intervalMs: backlogIntervalMs, now, log })
  const generation = {
    ...options, taskStore, replicate, submissionGate, predictionWatch, submissionSearch, taskChanges, providerClock, videoCopier, videoArchive, videoBacklog, frameExtractor, copyFailure, intentTtlMs, webhookFor, log
  }
  const jobs = new JobRunner({
    taskStore,
    job: (task, signal, leaveFlight) => inTrace(task.traceparent, () => generateVideo(task, generation, signal, leaveFlight)),
    endOverdue: (task, signal) => endOverdue(task, generation, signal),
    maxInFlight,
    capacity: () => maxAtGate - submissionGate.size,
    claimIntervalMs,
    stopping,
    now,
    log
  })
  taskStore.onEvent((event) => {
    taskChanges.notify(event)
    if (event.kind === 'resync') predictionWatch.refreshAllTasks()
    else if (event.kind === 'poll_requested') for (const taskId of event.taskIds) predictionWatch.pollNow(taskId)
    else if (!event.isLocal) for (const taskId of event.taskIds) predictionWatch.refreshTask(taskId)
  })
  app.decorate('generationJobs', jobs)
  app.decorate('predictionWatch', predictionWatch)
  app.decorate('submissionGate', submissionGate)
  app.addHook('onReady', async () => {
    submissionSearch.start()
    jobs.start()
    videoBacklog.start()
  })
  // Claiming and submitting stop at once, even if open HTTP requests take longer. It is not awaited here, see `callbacks`.
  let stopped: Promise<unknown> = Promise.resolve()
  app.addHook('preClose', async () => { stopped = Promise.all([jobs.stop(), submissionSearch.stop(), videoBacklog.stop()]) })
  app.addHook('onClose', () => app.shutdownTimer.waitFor('tasks to reach a safe point', stopped, safePointTime))
}, { name: 'generation-jobs', dependencies: ['lifecycle', 'task-store', 'replicate-client', 'replicate-webhooks', 'video-archive', 'video-downloader', 'frame-extractor'] })
