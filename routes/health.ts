import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'

export const HealthSchema = Type.Object({ status: Type.Literal('ok') }, {
  $id: 'Health', description: 'The instance is well', examples: [{ status: 'ok' }]
})

/** What an orchestrator and a load balancer ask an instance. Neither route calls Replicate. */
const healthRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const ok = { status: 'ok' } as const

  app.get('/livez', {
    schema: {
      operationId: 'getLiveness',
      summary: 'Check that the process is alive',
      description: 'Answers as long as the process can answer at all. When it does not, restart the instance.',
      tags: ['Health'],
      response: { 200: Type.Ref(HealthSchema), ...problemResponses() }
    }
  }, async () => ok)

  app.get('/readyz', {
    schema: {
      operationId: 'getReadiness',
      summary: 'Check that requests can be sent here',
      description: 'Whether the task store can be read and the instance is not about to stop.',
      tags: ['Health'],
      response: { 200: Type.Ref(HealthSchema), ...problemResponses('store_unavailable', 'stopping') }
    }
  }, async () => {
    if (app.isStopping()) throw problem('stopping')
    await app.taskStore.ping()
    return ok
  })
}

export default healthRoutes
