import fp from 'fastify-plugin'
import { CallLimiter } from '../services/rate-limit/call-limiter.ts'
import { AccountCheck } from '../services/replicate/account-check.ts'
import { ProviderClock } from '../services/replicate/provider-clock.ts'
import { createReplicateClient } from '../services/replicate/replicate-client.ts'
import type { CallKind } from '../services/store/task-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    replicate: ReturnType<typeof createReplicateClient>
    providerClock: ProviderClock
  }
}

/** The part of the configuration with the address of Replicate, the account's token and the limits for calls. */
export interface ReplicateAccess {
  REPLICATE_API_URL: string
  REPLICATE_API_TOKEN: string
  REPLICATE_CREATE_TIMEOUT_MS: number
  REPLICATE_CREATES_PER_MINUTE: number
  REPLICATE_READS_PER_MINUTE: number
}

/** When this time is over the jobs have stopped, and nothing needs the calls that are still in progress. */
const closed = { byMs: 22_000 }
const connectTimeoutMs = 5_000
const readTimeoutMs = 10_000
/** A page of 100 predictions with long logs stays below this. */
const maxResponseBytes = 8 * 1024 * 1024

/** Decorates the instance with the client of Replicate, checks that Replicate accepts the token, and closes the connections. */
export default fp<ReplicateAccess>(async (app, config) => {
  const { taskStore, log } = app
  const createLimiter = (kind: CallKind, perMinute: number) => new CallLimiter({ budget: taskStore.callBudget(kind, perMinute), log })
  const clock = new ProviderClock({ now: Date.now, log })
  const replicate = createReplicateClient({
    apiUrl: config.REPLICATE_API_URL,
    apiToken: config.REPLICATE_API_TOKEN,
    connectTimeoutMs,
    createTimeoutMs: config.REPLICATE_CREATE_TIMEOUT_MS,
    readTimeoutMs,
    maxResponseBytes,
    creates: createLimiter('create', config.REPLICATE_CREATES_PER_MINUTE),
    reads: createLimiter('read', config.REPLICATE_READS_PER_MINUTE),
    clock
  })
  const accountCheck = new AccountCheck({ replicate, log })
  app.decorate('providerClock', clock)
  app.decorate('replicate', replicate)
  // Only an instance that listens makes the check: the scripts that write documents and most tests do not listen.
  app.addHook('onListen', async () => accountCheck.start())
  // Not awaited: the hook that stops the jobs comes later.
  let checked: Promise<void> = Promise.resolve()
  app.addHook('preClose', async () => { checked = accountCheck.stop() })
  app.addHook('onClose', () => checked)
  app.addHook('onClose', () => app.shutdownTimer.waitFor('calls to Replicate', replicate.close(), closed))
}, { name: 'replicate-client', dependencies: ['lifecycle', 'task-store'] })
