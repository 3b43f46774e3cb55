import t from 'tap'
import type { PredictionView } from '../../replicate-emulator/prediction.ts'
import { bodyOf, handClock, runningEmulator } from './running-emulator.ts'

interface Page { results: Array<Partial<PredictionView>>, next: string | null }

t.test('a list that lags shows a prediction later than a single read does', async (t) => {
  const clock = handClock()
  const { emulator, create, get } = await runningEmulator(t, { now: clock.now, listLagMs: 10_000 })
  const listed = async () => (await bodyOf<Page>(await get('/v1/predictions'))).results.map(({ id }) => id)
  const first = await bodyOf(await create())
  t.equal((await get(`/v1/predictions/${first.id}`)).status, 200)
  clock.advance(9999)
  t.same(await listed(), [])
  clock.advance(1)
  t.same(await listed(), [first.id])
  const second = await bodyOf(await create())
  t.same(await listed(), [first.id])
  emulator.settings.listLagMs = 0
  t.same(await listed(), [second.id, first.id])
})

t.test('pages of a list that lags are full', async (t) => {
  const clock = handClock()
  const { emulator, create, get } = await runningEmulator(t, { now: clock.now, rateLimits: false, listLagMs: 1000 })
  for (let number = 0; number < 150; number++) await (await create()).arrayBuffer()
  clock.advance(1000)
  for (let number = 0; number < 50; number++) await (await create()).arrayBuffer()
  const { results, next } = await bodyOf<Page>(await get('/v1/predictions'))
  const rest = await bodyOf<Page>(await fetch(next ?? '', { headers: { authorization: 'Bearer test-token' } }))
  t.same([...results, ...rest.results].map(({ id }) => id), emulator.predictions.slice(0, 150).map(({ id }) => id).reverse())
  t.equal(results.length, 100)
})

t.test('items of a list show input and webhook as the settings say, and the prediction itself shows both', async (t) => {
  const { emulator, create, get } = await runningEmulator(t, { generationMs: 60_000 })
  const webhook = 'https://hooks.invalid/here'
  const { id } = await bodyOf(await create({ input: { prompt: 'a dream' }, webhook, webhook_events_filter: ['completed'] }))
  const item = async () => (await bodyOf<Page>(await get('/v1/predictions'))).results[0] ?? {}
  for (const listShowsInput of [true, false]) {
    for (const listShowsWebhook of [true, false]) {
      Object.assign(emulator.settings, { listShowsInput, listShowsWebhook })
      const shown = await item()
      t.same([shown.id, 'input' in shown, 'webhook' in shown], [id, listShowsInput, listShowsWebhook])
    }
  }
  t.match(await bodyOf(await get(`/v1/predictions/${id}`)), { input: { prompt: 'a dream' }, webhook })
})

t.test('a fault can affect the list only, or single reads only', async (t) => {
  const { emulator, create, get } = await runningEmulator(t)
  const { id } = await bodyOf(await create())
  const statuses = async () => [(await get('/v1/predictions')).status, (await get(`/v1/predictions/${id}`)).status]
  emulator.addFault({ call: 'list', kind: 'html', status: 500, share: 1 })
  t.same([await statuses(), await statuses()], [[500, 200], [500, 200]])
  emulator.clearFaults()
  emulator.addFault({ call: 'get', kind: 'status', status: 503, share: 1 })
  t.same(await statuses(), [200, 503])
})

t.test('a fault with an id applies to calls about this prediction only, and others do not use it up', async (t) => {
  const { emulator, create, get, origin } = await runningEmulator(t, { generationMs: 60_000 })
  const [one, other] = [await bodyOf(await create()), await bodyOf(await create())]
  emulator.addFault({ call: 'any', kind: 'status', status: 500, id: one.id, times: 2 })
  const status = async (path: string, method = 'GET') =>
    (await fetch(`${origin}/v1/predictions${path}`, { method, headers: { authorization: 'Bearer test-token' } })).status
  t.same([await status(`/${other.id}`), await status(''), await status(`/${other.id}/cancel`, 'POST')], [200, 200, 200])
  t.same([await status(`/${one.id}`), await status(`/${one.id}/cancel`, 'POST'), await status(`/${one.id}`)], [500, 500, 200])
  t.equal((await bodyOf(await get(`/v1/predictions/${one.id}`))).status, 'starting', 'its cancel had no effect')
})
