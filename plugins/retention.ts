import fp from 'fastify-plugin'
import { RetentionRunner } from '../services/retention/retention-runner.ts'

export interface RetentionPluginOptions {
  /** ms from the end of a task to its removal; null if tasks are kept for ever */
  retentionMs: number | null
  /** ms for which a file that no task names is left alone */
  orphanAgeMs: number
}

/** A removal can be abandoned at any moment: the next instance completes it. */
const drain = { forMs: 3_000, byMs: 21_000 }

/** Removes expired tasks and orphans in the background, from the moment the instance is ready until it closes. */
export default fp<RetentionPluginOptions>(async (app, options) => {
  const { taskStore, videoArchive, log } = app
  const runner = new RetentionRunner({ ...options, taskStore, videoArchive, log })
  app.addHook('onReady', async () => runner.start())
  // It is not awaited here, see `callbacks`.
  let stopped: Promise<void> = Promise.resolve()
  app.addHook('preClose', async () => { stopped = runner.stop() })
  app.addHook('onClose', () => app.shutdownTimer.waitFor('the removal of expired tasks and orphans', stopped, drain))
}, { name: 'retention', dependencies: ['lifecycle', 'task-store', 'video-archive'] })
