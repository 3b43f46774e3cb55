import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'

export const HealthSchema = Type.Object({ status: Type.Literal('ok') }, {
  $id: 'Health', description: 'The instance is well', examples: [{ status: 'ok' }]
})

/** What an orchestrator and a load balancer ask an instance. Neither route calls Replicate. */
const healthRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const ok = { status: 'ok' } as const
  const config = { isHealthCheck: true }
  let isReady = true

  async function checkReadiness (): Promise<void> {
    if (app.isStopping()) throw problem('stopping')
    await app.taskStore.ping()
  }

  /** Each change of readiness is one line, however often it is asked for. */
  function logChange (now: boolean, err?: unknown): void {
    if (now === isReady) return
    isReady = now
    if (now) app.log.info({}, 'Ready again')
    else if (app.isStopping()) app.log.info({}, 'Not ready any more: the instance is about to stop')
    else app.log.warn({ err }, 'Not ready any more: the task store cannot be used')
  }

  app.get('/livez', {
    config,
    schema: {
      operationId: 'getLiveness',
      summary: 'Check that the process is alive',
      description: 'Answers as long as the process can answer at all. When it does not, restart the instance.',
      tags: ['Health'],
      response: { 200: Type.Ref(HealthSchema), ...problemResponses() }
    }
  }, async () => ok)

  app.get('/readyz', {
    config,
    schema: {
      operationId: 'getReadiness',
      summary: 'Check that requests can be sent here',
      description: 'Whether the task store can be read and the instance is not about to stop.',
      tags: ['Health'],
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
