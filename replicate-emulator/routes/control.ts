import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import { DistortionSchema, PredictionDistortionSchema } from '../distortion.ts'
import type { Emulator } from '../emulator.ts'
import { FaultSchema } from '../fault.ts'
import { ForeignPredictionSchema, ForeignSchema } from '../foreign.ts'
import { requestOrigin } from '../origin.ts'
import { EndingSchema, OutcomeSchema, type Outcome } from '../outcome.ts'
import { isWiped, showPrediction, statusAt, type Prediction } from '../prediction.ts'
import { notFound, Problem } from '../problem.ts'
import { SettingsPatchSchema } from '../settings.ts'
import { maxSkewMs } from '../skewed-clock.ts'

const ById = Type.Object({ id: Type.String() })

const ClockSchema = Type.Object({ skewMs: Type.Integer({ minimum: -maxSkewMs, maximum: maxSkewMs }) }, { additionalProperties: false })

const ForeignRequestSchema = Type.Object({
  model: Type.String(),
  input: Type.Record(Type.String(), Type.Unknown()),
  ...ForeignPredictionSchema.properties
}, { additionalProperties: false })

/** What a script, or a test in another process, may see and change. No token: it is for one's own machine. */
export const controlRoutes: FastifyPluginAsyncTypebox<{ emulator: Emulator }> = async (app, { emulator }) => {
  app.get('/state', async () => state(emulator))

  app.patch('/settings', { schema: { body: SettingsPatchSchema } }, async (request) => {
    Object.assign(emulator.settings, request.body)
    return emulator.settings
  })

  app.put('/clock', { schema: { body: ClockSchema } }, async (request) => {
    emulator.clock.skewMs = request.body.skewMs
    return clock(emulator)
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

  app.post('/distortions', { schema: { body: DistortionSchema } }, async (request, reply) => {
    emulator.addDistortion(request.body)
    reply.code(201)
    return emulator.distortions.outstanding()
  })

  app.delete('/distortions', async (request, reply) => {
    emulator.clearDistortions()
    return reply.code(204).send()
  })

  app.post('/foreign', { schema: { body: ForeignSchema } }, async (request, reply) => {
    emulator.addForeign(request.body)
    reply.code(201)
    return emulator.foreign.outstanding()
  })

  app.delete('/foreign', async (request, reply) => {
    emulator.clearForeign()
    return reply.code(204).send()
  })

  app.post('/wipe', async () => ({ wiped: emulator.wipe() }))

  app.get('/predictions', async () => emulator.log.all.map((prediction) => {
    const { id, status, created_at: createdAt } = showPrediction(prediction, emulator.now())
    const { model, input, webhook = null, isForeign: foreign } = prediction
    return { id, model, input, webhook, foreign, created_at: createdAt, status }
  }))

  app.post('/predictions', { schema: { body: ForeignRequestSchema } }, async (request, reply) => {
    const { model, input, ...foreign } = request.body
    return showForeign(emulator.makeForeign({ model, version: 'hidden', input, origin: requestOrigin(request) }, { ms: 0, ...foreign }), reply)
  })

  app.post('/predictions/:id/foreign', { schema: { params: ById, body: ForeignPredictionSchema } }, async (request, reply) =>
    showForeign(emulator.makeForeign(find(request.params.id), request.body), reply))

  app.post('/predictions/:id/distort', { schema: { params: ById, body: PredictionDistortionSchema } }, async (request) => {
    const prediction = find(request.params.id)
    prediction.distortion = request.body
    return showPrediction(prediction, emulator.now())
  })

  app.post('/predictions/:id/wipe', { schema: { params: ById } }, async (request) => {
    const prediction = find(request.params.id)
    if (emulator.wipe([prediction]) === 0) throw new Problem(409, 'The prediction has not ended, or it was wiped before.')
    return showPrediction(prediction, emulator.now())
  })

  app.get('/predictions/:id/files', { schema: { params: ById } }, async (request) => {
    const prediction = find(request.params.id)
    const [video, thumbnail] = await Promise.all([emulator.files.digest(prediction, 'video'), emulator.files.digest(prediction, 'thumbnail')])
    return { video, thumbnail, wiped: isWiped(prediction, emulator.now()) }
  })

  app.post('/predictions/:id/finish', { schema: { params: ById, body: EndingSchema } }, async (request) => {
    const prediction = find(request.params.id)
    if (!emulator.end(prediction, request.body)) throw new Problem(409, `The prediction is already ${prediction.ending.status}.`)
    return showPrediction(prediction, emulator.now())
  })

  function find (id: string): Prediction {
    const prediction = emulator.log.find(id)
    if (prediction === undefined) throw notFound()
    return prediction
  }

  /** 202 where it comes later. */
  function showForeign (prediction: Prediction | undefined, reply: FastifyReply) {
    reply.code(prediction === undefined ? 202 : 201)
    return prediction === undefined ? {} : showPrediction(prediction, emulator.now())
  }
}

function clock ({ clock }: Emulator) {
  return { skewMs: clock.skewMs, now: new Date(clock.read()).toISOString() }
}

function state (emulator: Emulator) {
  const { settings, calls, log, faults, outcomes, distortions, foreign, webhooks } = emulator
  const byStatus: Record<string, number> = {}
  for (const prediction of log.all) {
    const status = statusAt(prediction, emulator.now())
    byStatus[status] = (byStatus[status] ?? 0) + 1
  }
  const toCome: Outcome[] = outcomes.outstanding()
  return {
    settings,
    clock: clock(emulator),
    calls,
    predictions: byStatus,
    faults: faults.outstanding(),
    outcomes: toCome,
    distortions: distortions.outstanding(),
    foreign: foreign.outstanding(),
    webhooks: webhooks.counts
  }
}
