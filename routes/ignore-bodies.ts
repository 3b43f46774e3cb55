import type { FastifyInstance } from 'fastify'
import { problem } from '../errors.ts'

/**
 * Makes the routes of a scope read request bodies of any Content-Type to their end and ignore them. Many clients send an empty body
 * with the Content-Type of JSON, which Fastify would refuse.
 * @param app the scope of these routes alone
 */
export function ignoreBodies (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (request, body, done) => {
    const limit = request.routeOptions.bodyLimit
    let bytes = Number(request.headers['content-length'] ?? 0)
    if (bytes > limit) return done(problem('payload_too_large'), undefined)
    bytes = 0
    // Each chunk is thrown away at once, so that an incomplete body takes no memory.
    const count = (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > limit) settle(problem('payload_too_large'))
    }
    const finish = () => settle(null)
    const settle = (error: Error | null) => {
      body.off('data', count).off('end', finish).off('error', settle).resume()
      body.on('error', () => {})
      done(error, undefined)
    }
    body.on('data', count).on('end', finish).on('error', settle)
  })
  app.addHook('onRequest', (request, _reply, done) => {
    delete request.headers['content-type']
    done()
  })
}
