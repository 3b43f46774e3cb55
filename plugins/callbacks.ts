import fp from 'fastify-plugin'
import packageJson from '../package.json' with { type: 'json' }
import { CallbackClient } from '../services/callbacks/callback-client.ts'
import { CallbackSigner } from '../services/callbacks/callback-message.ts'
import { CallbackRunner } from '../services/callbacks/callback-runner.ts'
import { callbackSchedule, deliverCallback } from '../services/callbacks/deliver-callback.ts'
import type { Task } from '../services/tasks/task.ts'
import { inTrace } from '../services/telemetry/trace-context.ts'

export interface CallbacksOptions {
  /** signs callbacks; without it no callbacks are delivered, and those that are due wait */
  secret: string | undefined
  allowPrivate: boolean
}

/** An instance that stops waits this long for a receiver that does not answer. */
const timeoutMs = 10_000
/** Longer than this timeout, and than the attempt to store a result while the store is unavailable. */
const drain = { byMs: 21_000 }
/** Up to 16 hosts that hang do not delay the others: for each host this many deliveries are in progress, and as many wait. */
const maxPerHost = 16
const maxConcurrent = 16 * 2 * maxPerHost
const claimIntervalMs = 2_000

/** Delivers callbacks from the moment the instance is ready until it closes. */
export default fp<CallbacksOptions>(async (app, { secret, allowPrivate }) => {
  if (secret === undefined) return
  const { taskStore: { deliveries }, presentTask, log } = app
  const given = {
    client: new CallbackClient({ allowPrivate, timeoutMs }),
    signer: new CallbackSigner(secret),
    present: (task: Task) => presentTask(task, task.origin),
    schedule: callbackSchedule,
    userAgent: `Dreamreel/${packageJson.version}`,
    log
  }
  const runner = new CallbackRunner({ deliveries, deliverCallback: (delivery) => inTrace(delivery.task.traceparent, () => deliverCallback(delivery, given)), maxConcurrent, maxPerHost, claimIntervalMs, log })
  app.addHook('onReady', async () => runner.start())
  // Awaiting this in `preClose` would delay the stop of plugins that were registered earlier, and they would go on claiming work.
  let stopped: Promise<void> = Promise.resolve()
  app.addHook('preClose', async () => { stopped = runner.stop() })
  app.addHook('onClose', () => app.shutdownTimer.waitFor('answers to callbacks', stopped, drain))
}, { name: 'callbacks', dependencies: ['lifecycle', 'task-store', 'task-view'] })
