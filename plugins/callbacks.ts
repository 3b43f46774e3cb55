import fp from 'fastify-plugin'
import packageJson from '../package.json' with { type: 'json' }
import { CallbackClient } from '../services/callbacks/callback-client.ts'
import { CallbackSigner } from '../services/callbacks/callback-message.ts'
import { CallbackRunner } from '../services/callbacks/callback-runner.ts'
import { callbackSchedule, deliverCallback } from '../services/callbacks/deliver-callback.ts'

export interface CallbacksOptions {
  /** what callbacks are signed with; those that are due wait while there is none */
  secret: string | undefined
  allowPrivate: boolean
}

/** An instance that stops waits as long for a receiver that does not answer. */
const timeoutMs = 10_000
/** Longer than that, and than noting an answer in a store that is away. */
const drain = { byMs: 21_000 }
/** Hosts that hang hold up the others only when there are more of them than 16: each has so many under way, and as many wait. */
const maxPerHost = 16
const maxConcurrent = 16 * 2 * maxPerHost
const claimIntervalMs = 2_000

/** Tells callback addresses of the end of their tasks, from the moment the instance is ready until it closes. */
export default fp<CallbacksOptions>(async (app, { secret, allowPrivate }) => {
  if (secret === undefined) return
  const { taskStore: { deliveries }, log } = app
  const given = {
    client: new CallbackClient({ allowPrivate, timeoutMs }),
    signer: new CallbackSigner(secret),
    schedule: callbackSchedule,
    userAgent: `Dreamreel/${packageJson.version}`,
    log
  }
  const runner = new CallbackRunner({ deliveries, deliverCallback: (delivery) => deliverCallback(delivery, given), maxConcurrent, maxPerHost, claimIntervalMs, log })
  app.addHook('onReady', async () => runner.start())
  // What is awaited here holds up the stop of whatever was registered earlier, which would go on with new work meanwhile.
  let stopped: Promise<void> = Promise.resolve()
  app.addHook('preClose', async () => { stopped = runner.stop() })
  app.addHook('onClose', () => app.shutdownTimer.waitFor('answers to callbacks', stopped, drain))
}, { name: 'callbacks', dependencies: ['lifecycle', 'task-store'] })
