import fp from 'fastify-plugin'
import { createReplicateClient } from '../services/replicate-client.ts'

declare module 'fastify' {
  interface FastifyInstance {
    replicate: ReturnType<typeof createReplicateClient>
  }
}

/** The part of the configuration that says where Replicate is and whose account pays. */
export interface ReplicateAccess {
  REPLICATE_API_URL: string
  REPLICATE_API_TOKEN: string
}

const connectTimeoutMs = 5_000
const createTimeoutMs = 15_000
const readTimeoutMs = 10_000
/** A page of 100 predictions with long logs stays below this. */
const maxResponseBytes = 8 * 1024 * 1024

/** Puts Replicate's API on the instance, and closes the connections to it. */
export default fp<ReplicateAccess>(async (app, { REPLICATE_API_URL: apiUrl, REPLICATE_API_TOKEN: apiToken }) => {
  const replicate = createReplicateClient({
    apiUrl, apiToken, connectTimeoutMs, createTimeoutMs, readTimeoutMs, maxResponseBytes
  })
  app.decorate('replicate', replicate)
  app.addHook('onClose', () => replicate.close())
}, { name: 'replicate-client' })
