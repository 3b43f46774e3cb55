import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { problem, problemResponses, type ProblemError } from '../errors.ts'
import { receiveWebhook } from '../services/generation/receive-webhook.ts'
import { BodyBudget } from '../services/http/body-budget.ts'
import { parsePrediction } from '../services/replicate/prediction.ts'
import { parseJson } from '../services/replicate/replicate-failure.ts'
import type { WebhookVerdict, WebhookHeaders } from '../services/replicate/replicate-webhooks.ts'

/** Enough for a prediction with long logs. */
const bodyLimit = 8 * 1024 * 1024
/** For all webhooks that are being received: thousands of the usual size, or four of the largest. */
const budgetBytes = 4 * bodyLimit

type Received = { authenticity: WebhookVerdict, body: Buffer } | 'too_large' | 'budget_exhausted'

/** Receives the webhooks with which Replicate reports the end of a prediction. The signature covers the raw bytes of the body. */
const replicateWebhookRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, predictionWatch, replicateWebhooks, replicate, log } = app
  const options = { taskStore, predictionWatch, replicate, log, webhookFor: (taskId: string) => replicateWebhooks.urlFor(taskId) }
  const budget = new BodyBudget(budgetBytes)
  const verifyBody = (body: Buffer, headers: WebhookHeaders): Received => ({ authenticity: replicateWebhooks.verify(body, headers), body })

  // Anyone can send requests to this address, so what the headers alone prove invalid is refused before the body is read.
  app.addHook('onRequest', (request, _reply, done) => {
    if (Number(request.headers['content-length'] ?? 0) > bodyLimit) done(problem('payload_too_large'))
    else done(toProblem(replicateWebhooks.checkHeaders(request.headers)))
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', ({ headers }: FastifyRequest, payload: IncomingMessage) => budget.read(payload, bodyLimit, (body) => verifyBody(body, headers)))

  app.post('/webhooks/replicate/:task_id', {
    bodyLimit,
    schema: {
      hide: true,
      operationId: 'receiveReplicateWebhook',
      summary: 'Receive a webhook of Replicate',
      tags: ['Webhooks'],
      params: Type.Object({ task_id: Type.String() }),
      response: { 204: Type.Null(), ...problemResponses('webhook_not_authentic', 'webhook_unverifiable', 'store_unavailable') }
    }
  }, async (request, reply) => {
    const received = request.body as Received | undefined ?? verifyBody(Buffer.alloc(0), request.headers)
    if (received === 'too_large') throw problem('payload_too_large')
    if (received === 'budget_exhausted') throw problem('webhook_unverifiable', { detail: 'Too many webhooks are being received; send it again in a few seconds' })
    const refusal = toProblem(received.authenticity)
    if (refusal !== undefined) throw refusal
    const prediction = parsePrediction(parseJson(received.body.toString()))
    if (prediction === undefined) throw problem('bad_request', { detail: 'The body is not a prediction' })
    request.taskId = request.params.task_id
    const heard = await receiveWebhook(request.params.task_id, prediction, options)
    request.log.debug({ prediction_id: prediction.id, status: prediction.status, heard }, 'Webhook of a prediction')
    reply.code(204)
    return null
  })
}

function toProblem (authenticity: WebhookVerdict | undefined): ProblemError | undefined {
  switch (authenticity) {
    case 'forged': return problem('webhook_not_authentic')
    case 'unverifiable': return problem('webhook_unverifiable')
  }
}

export default replicateWebhookRoutes
