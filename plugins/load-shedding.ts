import fastifyUnderPressure from '@fastify/under-pressure'
import fp from 'fastify-plugin'
import { problem } from '../errors.ts'
import { isHealthCheck } from './request-log.ts'

export interface LoadSheddingOptions {
  /** ms by which timers may be late, the average of a second; 0 for any time */
  maxEventLoopDelayMs: number
}

/**
 * Refuses requests while the event loop is late, so that those under way are answered in time. Health checks are answered: an instance
 * that is restarted because of its load would only leave more work to the others.
 */
export default fp<LoadSheddingOptions>(async (app, { maxEventLoopDelayMs }) => {
  await app.register(fastifyUnderPressure, {
    maxEventLoopDelay: maxEventLoopDelayMs,
    pressureHandler: async (request) => {
      if (!isHealthCheck(request)) throw problem('overloaded')
    }
  })
}, { name: 'load-shedding' })
