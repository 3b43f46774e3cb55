import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'
import { hearOfPrediction } from '../services/hear-of-prediction.ts'
import { parsePrediction } from '../services/prediction.ts'
import { parseJson } from '../services/replicate-failure.ts'

/** A prediction with long logs. */
const bodyLimit = 8 * 1024 * 1024

/** Where Replicate reports the end of a prediction. The body is read as it comes: its signature covers the raw bytes. */
const replicateWebhookRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, predictionWatch, replicateWebhooks, replicate, log } = app
  const options = { taskStore, predictionWatch, replicate, log, webhookFor: (taskId: string) => replicateWebhooks.addressFor(taskId) }

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  app.post('/webhooks/replicate/:task_id', {
    bodyLimit,
    schema: {
      hide: true,
      operationId: 'receiveReplicateWebhook',
      summary: 'What has become of a prediction',
      tags: ['Webhooks'],
      params: Type.Object({ task_id: Type.String() }),
      response: { 204: Type.Null(), ...problemResponses('webhook_not_authentic', 'webhook_unverifiable', 'store_unavailable') }
    }
  }, async (request, reply) => {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    switch (replicateWebhooks.verify(body, request.headers)) {
      case 'forged': throw problem('webhook_not_authentic')
      case 'unverifiable': throw problem('webhook_unverifiable')
    }
    const prediction = parsePrediction(parseJson(body.toString()))
    if (prediction === undefined) throw problem('bad_request', { detail: 'The body is no prediction' })
    request.taskId = request.params.task_id
    const heard = await hearOfPrediction(request.params.task_id, prediction, options)
    request.log.debug({ prediction_id: prediction.id, status: prediction.status, heard }, 'Webhook of a prediction')
    reply.code(204)
    return null
  })
}

export default replicateWebhookRoutes
