import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the instance has been told to stop: it still serves everything, but wants no new connections. */
    isStopping: () => boolean
    /** Turns readiness off, so that the load balancer looks elsewhere before the server closes. */
    announceStop: () => void
  }
}

export default fp(async (app) => {
  let stopping = false
  app.decorate('isStopping', () => stopping)
  app.decorate('announceStop', () => { stopping = true })
  app.addHook('preClose', async () => { stopping = true })
}, { name: 'lifecycle' })
