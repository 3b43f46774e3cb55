import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { Emulator } from '../emulator.ts'
import { FaultSchema } from '../fault.ts'
import { EndingSchema, OutcomeSchema, type Outcome } from '../outcome.ts'
import { showPrediction } from '../prediction.ts'
import { notFound, Problem } from '../problem.ts'
import { SettingsPatchSchema } from '../settings.ts'

/** What a script, or a test in another process, may see and change. No token: it is for one's own machine. */
export const controlRoutes: FastifyPluginAsyncTypebox<{ emulator: Emulator }> = async (app, { emulator }) => {
  app.get('/state', async () => state(emulator))

  app.patch('/settings', { schema: { body: SettingsPatchSchema } }, async (request) => {
    Object.assign(emulator.settings, request.body)
    return emulator.settings
  })

  app.post('/faults', { schema: { body: FaultSchema } }, async (request, reply) => {
    emulator.addFault(request.body)
    reply.code(201)
    return emulator.faults.outstanding()
  })

  app.delete('/faults', async (request, reply) => {
    emulator.clearFaults()
    return reply.code(204).send()
  })

  app.post('/outcomes', { schema: { body: OutcomeSchema } }, async (request, reply) => {
    emulator.addOutcome(request.body)
    reply.code(201)
    return emulator.outcomes.outstanding()
  })

  app.delete('/outcomes', async (request, reply) => {
    emulator.clearOutcomes()
    return reply.code(204).send()
  })

  app.get('/predictions', async () => emulator.log.all.map((prediction) => {
    const { id, status, created_at: createdAt } = showPrediction(prediction, emulator.now())
    const { model, input, webhook = null } = prediction
    return { id, model, input, webhook, created_at: createdAt, status }
  }))

  app.post('/predictions/:id/finish', {
    schema: { params: Type.Object({ id: Type.String() }), body: EndingSchema },
  }, async (request) => {
    const prediction = emulator.log.find(request.params.id)
    if (prediction === undefined) throw notFound()
    if (!emulator.end(prediction, request.body)) throw new Problem(409, `The prediction is already ${prediction.ending.status}.`)
    return showPrediction(prediction, emulator.now())
  })
}

function state ({ settings, calls, predictions, faults, outcomes, webhooks }: Emulator) {
  const byStatus: Record<string, number> = {}
  for (const { status } of predictions) byStatus[status] = (byStatus[status] ?? 0) + 1
  const toCome: Outcome[] = outcomes.outstanding()
  return { settings, calls, predictions: byStatus, faults: faults.outstanding(), outcomes: toCome, webhooks: webhooks.counts }
}
