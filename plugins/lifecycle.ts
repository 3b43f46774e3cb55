import fp from 'fastify-plugin'
import { StopClock } from '../services/runtime/stop-clock.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the instance has been told to stop: it still serves everything, but wants no new connections. */
    isStopping: () => boolean
    /** Turns readiness off, so that the load balancer looks elsewhere before the server closes. */
    announceStop: () => void
    /** Runs from the moment the instance closes; everything that is waited for then is waited for on it. */
    stopClock: StopClock
  }
}

export default fp(async (app) => {
  let stopping = false
  app.decorate('isStopping', () => stopping)
  app.decorate('announceStop', () => { stopping = true })
  // No connection that a load balancer keeps open is left to be used again at the moment the server closes.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (stopping) reply.header('connection', 'close')
    done(null, payload)
  })
  const stopClock = new StopClock(app.log)
  app.decorate('stopClock', stopClock)
  app.addHook('preClose', async () => {
    stopping = true
    stopClock.start()
  })
}, { name: 'lifecycle' })
