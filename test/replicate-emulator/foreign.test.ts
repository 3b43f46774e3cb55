import t from 'tap'
import { until } from '../../harness/until.ts'
import type { PredictionView } from '../../replicate-emulator/prediction.ts'
import { auth, bodyOf, handClock, runningEmulator } from './running-emulator.ts'

interface Page { results: PredictionView[] }

t.test('another client makes a prediction of the same input with a create, older or younger', async (t) => {
  const { emulator, create, get } = await runningEmulator(t, { generationMs: 60_000 })
  emulator.addForeign({ ms: -1500, webhook: 'https://other-client.invalid/hook' })
  emulator.addForeign({ ms: 20 })
  const first = await bodyOf(await create())
  const younger = new Promise((resolve) => emulator.log.changes.on('created', (made) => { if (made.isForeign) resolve(made) }))
  const second = await bodyOf(await create())
  await younger
  const third = await bodyOf(await create())

  const { results } = await bodyOf<Page>(await get('/v1/predictions'))
  const [,, , , older] = results
  t.same(results.map(({ id }) => emulator.log.find(id)?.isForeign), [false, true, false, false, true])
  t.same([results[0]?.id, results[2]?.id, results[3]?.id], [third.id, second.id, first.id])
  t.match(older, { model: 'luma/ray', input: { prompt: 'a dream' }, source: 'api' })
  t.ok(Math.abs(Date.parse(first.created_at) - Date.parse(older?.created_at ?? '') - 1500) <= 1)
  t.match(await bodyOf(await get(`/v1/predictions/${older?.id}`)), { webhook: 'https://other-client.invalid/hook' })
  t.notOk('webhook' in await bodyOf(await get(`/v1/predictions/${results[1]?.id}`)))
})

t.test('another client does so with a share of the creates, by default within two seconds either way', async (t) => {
  const clock = handClock()
  const { emulator, create, origin } = await runningEmulator(t, { now: clock.now })
  t.equal((await fetch(`${origin}/emulator/foreign`, { method: 'POST', headers: auth, body: JSON.stringify({ share: 0.5 }) })).status, 201)
  for (let number = 0; number < 40; number++) await (await create()).arrayBuffer()
  const older = emulator.log.all.filter(({ isForeign, createdAt }) => isForeign && createdAt < clock.now())
  t.ok(older.length > 2 && older.length < 20)
  t.ok(older.every(({ createdAt }) => createdAt >= clock.now() - 2000))
  await fetch(`${origin}/emulator/foreign`, { method: 'DELETE' })
  t.same(emulator.foreign.outstanding(), [])
})

t.test('the control interface makes a foreign prediction of its own, or one that imitates another', async (t) => {
  const { origin, create, emulator } = await runningEmulator(t, { generationMs: 60_000 })
  const post = (path: string, body: unknown) => fetch(`${origin}/emulator/predictions${path}`, { method: 'POST', headers: auth, body: JSON.stringify(body) })
  const alone = await post('', { model: 'luma/ray', input: { prompt: 'alone' }, webhook: 'https://other-client.invalid/' })
  t.equal(alone.status, 201)
  t.match(await alone.json(), { model: 'luma/ray', input: { prompt: 'alone' }, webhook: 'https://other-client.invalid/', status: 'starting' })
  const { id, created_at: createdAt } = await bodyOf(await create())
  const twin = await post(`/${id}/foreign`, { ms: -60_000 })
  t.equal(twin.status, 201)
  const { created_at: twinCreatedAt, input } = await bodyOf(twin)
  t.same(input, { prompt: 'a dream' })
  t.ok(Math.abs(Date.parse(createdAt) - Date.parse(twinCreatedAt) - 60_000) <= 1)
  t.equal((await post(`/${id}/foreign`, { ms: 60_000 })).status, 202, 'it comes later')
  t.equal((await post('/unknown/foreign', {})).status, 404)
  const shown = await (await fetch(`${origin}/emulator/predictions`)).json() as Array<{ foreign: boolean }>
  t.same(shown.map(({ foreign }) => foreign), [true, false, true])
  t.equal(emulator.calls.create, 1)
})

t.test('the webhook of another client’s prediction is not called', async (t) => {
  const { emulator } = await runningEmulator(t, { generationMs: 0 })
  emulator.makeForeign({ model: 'luma/ray', version: 'hidden', input: {}, origin: 'http://127.0.0.1' }, { ms: 0, webhook: 'http://127.0.0.1:1/' })
  emulator.create({ model: 'luma/ray', version: 'hidden', input: {}, webhook: 'http://127.0.0.1:1/', webhookEvents: ['completed'], cancelAfterMs: undefined }, 'http://127.0.0.1')
  await until(() => emulator.webhooks.counts.refused > 0 || undefined, 'a refused webhook')
  t.same(emulator.webhooks.counts, { delivered: 0, refused: 1 })
})
