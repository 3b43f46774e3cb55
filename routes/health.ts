import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'

export const HealthSchema = Type.Object({ status: Type.Literal('ok') }, {
  $id: 'Health', description: 'The instance is healthy', examples: [{ status: 'ok' }]
})

/** Health checks for orchestrators and load balancers. Neither route calls Replicate. */
const healthRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const ok = { status: 'ok' } as const
  const config = { isHealthCheck: true }
  let isReady = true

  async function checkReadiness (): Promise<void> {
    if (app.isStopping()) throw problem('stopping')
    await app.taskStore.ping()
  }

  /** Logs each change of readiness once, however often it is checked. */
  function logChange (now: boolean, err?: unknown): void {
    if (now === isReady) return
    isReady = now
    if (now) app.log.info({}, 'Ready again')
    else if (app.isStopping()) app.log.info({}, 'No longer ready: the instance is about to stop')
    else app.log.warn({ err }, 'No longer ready: the task store is unavailable')
  }

  app.get('/livez', {
    config,
    schema: {
      operationId: 'getLiveness',
      summary: 'Check liveness',
      description: 'Responds with 200 as long as the process can handle requests at all. If it does not respond, restart the instance.',
      tags: ['Health'],
      security: [],
      response: { 200: Type.Ref(HealthSchema), ...problemResponses() }
    }
  }, async () => ok)

  app.get('/readyz', {
    config,
    schema: {
      operationId: 'getReadiness',
      summary: 'Check readiness',
      description: 'Responds with 200 if the task store can be read and the instance is not about to stop. Otherwise send requests to other instances.',
      tags: ['Health'],
      security: [],
      response: { 200: Type.Ref(HealthSchema), ...problemResponses('store_unavailable', 'stopping') }
    }
  }, async () => {
    try {
      await checkReadiness()
    } catch (err) {
      logChange(false, err)
      throw err
    }
    logChange(true)
    return ok
  })
}

export default healthRoutes
