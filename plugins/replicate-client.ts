import fp from 'fastify-plugin'
import { CallLimiter } from '../services/call-limiter.ts'
import { createReplicateClient } from '../services/replicate-client.ts'

declare module 'fastify' {
  interface FastifyInstance {
    replicate: ReturnType<typeof createReplicateClient>
  }
}

/** The part of the configuration that says where Replicate is, whose account pays, and how much it may call. */
export interface ReplicateAccess {
  REPLICATE_API_URL: string
  REPLICATE_API_TOKEN: string
  REPLICATE_CREATE_TIMEOUT_MS: number
  REPLICATE_CREATES_PER_MINUTE: number
  REPLICATE_READS_PER_MINUTE: number
}

const connectTimeoutMs = 5_000
const readTimeoutMs = 10_000
/** A page of 100 predictions with long logs stays below this. */
const maxResponseBytes = 8 * 1024 * 1024

/** Puts Replicate's API on the instance, and closes the connections to it. */
export default fp<ReplicateAccess>(async (app, config) => {
  const now = () => performance.now()
  const replicate = createReplicateClient({
    apiUrl: config.REPLICATE_API_URL,
    apiToken: config.REPLICATE_API_TOKEN,
    connectTimeoutMs,
    createTimeoutMs: config.REPLICATE_CREATE_TIMEOUT_MS,
    readTimeoutMs,
    maxResponseBytes,
    creates: new CallLimiter({ perMinute: config.REPLICATE_CREATES_PER_MINUTE, now }),
    reads: new CallLimiter({ perMinute: config.REPLICATE_READS_PER_MINUTE, now })
  })
  app.decorate('replicate', replicate)
  app.addHook('onClose', () => replicate.close())
}, { name: 'replicate-client' })
