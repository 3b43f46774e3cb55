import fp from 'fastify-plugin'
import { ShutdownTimer } from '../services/runtime/shutdown-timer.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the instance has been told to stop: it still serves everything, but wants no new connections. */
    isStopping: () => boolean
    /** Turns readiness off, so that the load balancer looks elsewhere before the server closes. */
    announceShutdown: () => void
    /** Runs from the moment the instance closes; everything that is waited for then is waited for on it. */
    shutdownTimer: ShutdownTimer
  }
}

export default fp(async (app) => {
  let stopping = false
  app.decorate('isStopping', () => stopping)
  app.decorate('announceShutdown', () => { stopping = true })
  // No connection that a load balancer keeps open is left to be used again at the moment the server closes.
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
