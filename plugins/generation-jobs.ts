import fp from 'fastify-plugin'
import { endLate, generateVideo } from '../services/generate-video.ts'
import { JobRunner } from '../services/job-runner.ts'
import type { StyleModels } from '../services/models.ts'
import { PredictionReads } from '../services/prediction-reads.ts'

declare module 'fastify' {
  interface FastifyInstance {
    generationJobs: JobRunner
  }
}

export interface GenerationJobsOptions {
  models: StyleModels
  replicateApiUrl: string
  maxInFlight: number
  pollIntervalMs: number
  now: () => number
}

const lookIntervalMs = 1_000

/** Generates the videos of all open tasks in the background, from the moment the instance is ready until it closes. */
export default fp<GenerationJobsOptions>(async (app, { models, replicateApiUrl, maxInFlight, pollIntervalMs, now }) => {
  const { taskStore, replicate, log } = app
  const predictionReads = new PredictionReads({ replicate, pollIntervalMs, now })
  const generation = { taskStore, replicate, predictionReads, models, replicateApiUrl, now, log }
  const jobs = new JobRunner({
    taskStore,
    job: (task, signal) => generateVideo(task, generation, signal),
    giveUp: (task) => endLate(task, generation),
    maxInFlight,
    lookIntervalMs,
    now,
    log
  })
  app.decorate('generationJobs', jobs)
  app.addHook('onReady', async () => jobs.start())
  app.addHook('onClose', () => jobs.stop())
}, { name: 'generation-jobs', dependencies: ['task-store', 'replicate-client'] })
