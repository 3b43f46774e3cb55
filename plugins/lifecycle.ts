import fp from 'fastify-plugin'
import { ShutdownTimer } from '../services/runtime/shutdown-timer.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the instance is about to stop. It still handles all requests, but wants no new connections. */
    isStopping: () => boolean
    /** Turns readiness off, so that the load balancer uses other instances before the server closes. */
    announceShutdown: () => void
    /** Starts when the instance closes. It limits everything that the shutdown waits for. */
    shutdownTimer: ShutdownTimer
  }
}

export default fp(async (app) => {
  let stopping = false
  app.decorate('isStopping', () => stopping)
  app.decorate('announceShutdown', () => { stopping = true })
  // Otherwise a load balancer could reuse a connection at the moment when the server closes.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (stopping) reply.header('connection', 'close')
    done(null, payload)
  })
  const shutdownTimer = new ShutdownTimer(app.log)
  app.decorate('shutdownTimer', shutdownTimer)
  app.addHook('preClose', async () => {
    stopping = true
    shutdownTimer.start()
  })
}, { name: 'lifecycle' })
