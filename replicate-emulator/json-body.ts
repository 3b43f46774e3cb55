import fastifyPlugin from 'fastify-plugin'

/** Replicate takes an empty body with a JSON content type: its official client cancels that way. */
export const jsonBody = fastifyPlugin(async (app) => {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body.length === 0) return done(null, undefined)
    parse(request, body.toString(), done)
  })
}, { name: 'json-body' })
