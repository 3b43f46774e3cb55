import type { FastifyInstance } from 'fastify'

/**
 * For routes that take no body: whatever comes, with whatever Content-Type, is read to its end and ignored. Clients send
 * none, or an empty one that they call JSON.
 * @param app the scope of these routes alone
 */
export function ignoreBodies (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null, undefined))
  app.addHook('onRequest', (request, _reply, done) => {
    delete request.headers['content-type']
    done()
  })
}
