import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { HooksFor } from '../call-hooks.ts'
import { readCreate } from '../create-request.ts'
import type { Emulator } from '../emulator.ts'
import { requestOrigin } from '../origin.ts'
import { readPage, type PageQuery } from '../prediction-page.ts'
import { showCreated, showPrediction, type Prediction, type PredictionView } from '../prediction.ts'
import { notFound } from '../problem.ts'

interface Options {
  emulator: Emulator
  hooksFor: HooksFor
}

interface ById { Params: { id: string } }
interface ByModel { Params: { owner: string, name: string } }

export const predictionRoutes: FastifyPluginAsync<Options> = async (app, { emulator, hooksFor }) => {
  app.post<ByModel>('/models/:owner/:name/predictions', hooksFor('create'), async (request, reply) => {
    const { owner, name } = request.params
    reply.code(201)
    return create(request, `${owner}/${name}`)
  })

  app.post('/predictions', hooksFor('create'), async (request, reply) => {
    reply.code(201)
    return create(request)
  })

  app.get<ById>('/predictions/:id', hooksFor('get'), async (request) => show(find(request.params.id), request))

  app.post<ById>('/predictions/:id/cancel', hooksFor('cancel'), async (request) => {
    const prediction = find(request.params.id)
    emulator.end(prediction, { status: 'canceled' })
    return show(prediction, request)
  })

  app.get<{ Querystring: PageQuery }>('/predictions', { ...hooksFor('list'), schema: { querystring: pageQuerySchema } }, async (request) =>
    readPage(emulator.log, request.query, {
      now: emulator.now(), origin: requestOrigin(request), settings: emulator.settings
    }))

  async function create (request: FastifyRequest, model?: string): Promise<PredictionView> {
    const { 'cancel-after': cancelAfter, prefer } = request.headers
    const { allowHttpWebhooks } = emulator.settings
    const asked = readCreate({ body: request.body, model, cancelAfter: headerText(cancelAfter), allowHttpWebhooks })
    const prediction = emulator.create(asked, requestOrigin(request))
    const waitMs = preferredWait(headerText(prefer))
    if (waitMs > 0) await emulator.waitForEnd(prediction, waitMs)
    // A wait that was in vain shows the prediction as it was made: the official client takes any other status for the end.
    return waitMs > 0 && emulator.now() >= prediction.endsAt ? show(prediction, request) : showCreated(prediction, requestOrigin(request))
  }

  function find (id: string): Prediction {
    const prediction = emulator.log.find(id)
    if (prediction === undefined) throw notFound()
    return prediction
  }

  function show (prediction: Prediction, request: FastifyRequest): PredictionView {
    return showPrediction(prediction, emulator.now(), requestOrigin(request))
  }
}

const pageQuerySchema = {
  type: 'object',
  properties: { cursor: { type: 'string' }, created_after: { type: 'string' }, created_before: { type: 'string' } }
}

/** Milliseconds that `Prefer: wait` or `wait=n` asks for; 60 s where it names no time, and at most. */
function preferredWait (prefer = ''): number {
  const [wait, seconds] = /(?:^|[,;\s])wait(?:=(\d{1,6}))?(?=$|[,;\s])/i.exec(prefer) ?? []
  return wait === undefined ? 0 : Math.min(Number(seconds ?? 60), 60) * 1000
}

function headerText (header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header
}
