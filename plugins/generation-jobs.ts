import fp from 'fastify-plugin'
import { CreateGate } from '../services/generation/submission-gate.ts'
import { endLate, generateVideo } from '../services/generation/generate-video.ts'
import { JobRunner } from '../services/generation/job-runner.ts'
import type { StyleModels } from '../services/replicate/models.ts'
import { PredictionWatch } from '../services/generation/prediction-watch.ts'
import { SubmissionSearch } from '../services/generation/submission-search.ts'
import { TaskSubscriptions } from '../services/live-status/task-subscriptions.ts'

declare module 'fastify' {
  interface FastifyInstance {
    generationJobs: JobRunner
    predictionWatch: PredictionWatch
  }
}

export interface GenerationJobsOptions {
  models: StyleModels
  replicateApiUrl: string
  maxInFlight: number
  pollIntervalMs: number
  sweepThreshold: number
  createTimeoutMs: number
  listLagMs: number
  now: () => number
}

const claimIntervalMs = 1_000
/** What is under way when the instance dies has to be looked for; the pace of the limit is kept with far fewer. */
const createsAtOnce = 32
/** Enough to keep the gate busy; claiming more costs a shared database more than it brings. */
const mostAtGate = 2 * createsAtOnce
/** Longer than a create whose answer is waited for, and the note of what came of it. */
const safePoint = { byMs: 21_000 }
/** With a webhook a read is only the net below it. */
const leastNetIntervalMs = 60_000

/** Generates the videos of all open tasks in the background, from the moment the instance is ready until it closes. */
export default fp<GenerationJobsOptions>(async (app, { maxInFlight, pollIntervalMs, sweepThreshold, ...given }) => {
  const { createTimeoutMs, now } = given
  const { taskStore, replicate, replicateWebhooks, providerClock, log } = app
  const stopping = new AbortController()
  const { signal } = stopping
  const netIntervalMs = Math.max(pollIntervalMs, leastNetIntervalMs)
  const predictionWatch = new PredictionWatch({ replicate, taskStore, pollIntervalMs, netIntervalMs, sweepThreshold, now, log, signal })
  const createGate = new CreateGate({ replicate, mostAtOnce: createsAtOnce, onRoom: () => app.generationJobs.wake(), log, signal })
  const intentTtlMs = createTimeoutMs / 3
  const submissionSearch = new SubmissionSearch({ ...given, taskStore, replicate, providerClock, intentTtlMs, log, signal })
  const taskChanges = new TaskSubscriptions()
  const webhookFor = (taskId: string) => replicateWebhooks.addressFor(taskId)
  const generation = {
    ...given, taskStore, replicate, createGate, predictionWatch, submissionSearch, taskChanges, providerClock, intentTtlMs, webhookFor, log
  }
  const jobs = new JobRunner({
    taskStore,
    job: (task, signal) => generateVideo(task, generation, signal),
    giveUp: (task, signal) => endLate(task, generation, signal),
    maxInFlight,
    room: () => mostAtGate - createGate.size,
    claimIntervalMs,
    stopping,
    now,
    log
  })
  taskStore.onNews((news) => {
    taskChanges.hear(news)
    if (news.kind === 'gap') predictionWatch.recheckAll()
    else if (news.kind === 'prompted') for (const taskId of news.taskIds) predictionWatch.readNow(taskId)
    else if (!news.isOwn) for (const taskId of news.taskIds) predictionWatch.recheck(taskId)
  })
  app.decorate('generationJobs', jobs)
  app.decorate('predictionWatch', predictionWatch)
  app.addHook('onReady', async () => {
    submissionSearch.start()
    jobs.start()
  })
  // Nothing more is claimed or sent from here on, however long answers to requests take; not awaited, see `callbacks`.
  let stopped: Promise<unknown> = Promise.resolve()
  app.addHook('preClose', async () => { stopped = Promise.all([jobs.stop(), submissionSearch.stop()]) })
  app.addHook('onClose', () => app.shutdownTimer.waitFor('tasks to reach a safe point', stopped, safePoint))
}, { name: 'generation-jobs', dependencies: ['lifecycle', 'task-store', 'replicate-client', 'replicate-webhooks'] })
