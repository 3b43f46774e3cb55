import t from 'tap'
import type { PredictionView } from '../../replicate-emulator/prediction.ts'
import { auth, bodyOf, handClock, runningEmulator } from './running-emulator.ts'

interface Page { results: PredictionView[], next: string | null, previous: string | null }

t.test('a create lists every fault of its body', async (t) => {
  const { create } = await runningEmulator(t)
  const response = await create({ input: { seed: 1, loop: 'yes' }, extra: 1, webhook: 'http://example.com/' })
  t.equal(response.status, 422)
  const { invalid_fields: fields } = await bodyOf<{ invalid_fields: Array<{ type: string, field: string }> }>(response)
  t.same(fields.map(({ type, field }) => [type, field]), [
    ['additional_property_not_allowed', ''],
    ['format', 'webhook'],
    ['required', 'input'],
    ['additional_property_not_allowed', 'input'],
    ['invalid_type', 'input.loop']
  ])
})

t.test('broken JSON is 400, a missing token 401, a wrong one 401, a missing model 404', async (t) => {
  const { origin, get } = await runningEmulator(t, { token: 'test-token' })
  const post = (path: string, body: string) => fetch(origin + path, { method: 'POST', headers: auth, body })
  t.equal((await post('/v1/models/luma/ray/predictions', '{')).status, 400)
  t.equal((await fetch(`${origin}/v1/account`)).status, 401)
  t.equal((await get('/v1/account', { authorization: 'Bearer other' })).status, 401)
  t.equal((await post('/v1/models/missing/model/predictions', '{"input":{}}')).status, 404)
})

t.test('a version is 64 digits, owner/name or owner/name:version', async (t) => {
  const { origin } = await runningEmulator(t)
  const digits = 'ab'.repeat(32)
  const post = (version: string) => fetch(`${origin}/v1/predictions`, { method: 'POST', headers: auth, body: JSON.stringify({ version, input: { prompt: 'x' } }) })
  t.match(await (await post(`me/mine:${digits}`)).json(), { model: 'me/mine', version: digits })
  t.match(await (await post('luma/ray')).json(), { model: 'luma/ray' })
  t.match(await (await post(digits)).json(), { version: digits })
  t.equal((await post('nonsense')).status, 422)
})

t.test('a prediction changes its status by the clock, and its data are removed an hour after its end', async (t) => {
  const clock = handClock()
  const { emulator, create, get } = await runningEmulator(t, { generationMs: 4000, now: clock.now })
  emulator.addOutcome({ status: 'succeeded', progress: true, output: ['$VIDEO'] })
  const { id, status } = await bodyOf(await create())
  const now = async () => (await get(`/v1/predictions/${id}`)).json()
  t.equal(status, 'starting')
  clock.advance(2250)
  t.match(await now(), { status: 'processing', output: null, logs: /^ 48%\|████▊ {5}\| 24\/50 /m })
  clock.advance(1750)
  t.match(await now(), { status: 'succeeded', output: [/output\.mp4$/], metrics: { predict_time: 3.5, total_time: 4 } })
  clock.advance(3_600_000)
  t.match(await now(), { status: 'succeeded', data_removed: true, input: {}, output: null, logs: '' })
  t.equal((await get(`/files/${id}/output.mp4`)).status, 404)
})

t.test('the data are removed after the configured time, or of all ended predictions on request', async (t) => {
  const clock = handClock()
  const { emulator, origin, create, get } = await runningEmulator(t, { generationMs: 1000, keptMs: 5000, now: clock.now })
  const { id } = await bodyOf(await create())
  const now = async (id: string) => (await get(`/v1/predictions/${id}`)).json()
  clock.advance(5999)
  t.match(await now(id), { data_removed: false, input: { prompt: 'a dream' }, output: /output\.mp4$/ })
  clock.advance(1)
  t.match(await now(id), { data_removed: true, input: {}, output: null, logs: '' })

  emulator.settings.keptMs = 3_600_000
  const [ended, running] = [await bodyOf(await create()), await bodyOf(await create())]
  const longer = emulator.log.find(running.id)
  if (longer !== undefined) longer.endsAt += 1000
  clock.advance(1000)
  t.same(await (await fetch(`${origin}/emulator/wipe`, { method: 'POST' })).json(), { wiped: 1 }, 'one was wiped already, one runs')
  t.match(await now(ended.id), { status: 'succeeded', data_removed: true, input: {}, output: null, logs: '' })
  t.equal((await get(`/files/${ended.id}/output.mp4`)).status, 404)
  t.match(await now(running.id), { status: 'processing', data_removed: false, input: { prompt: 'a dream' } })
  clock.advance(1000)
  t.match(await now(running.id), { data_removed: false, output: /output\.mp4$/ }, 'what ended later is kept its own time')
})

t.test('a distorted prediction shows the given members in every answer', async (t) => {
  const { emulator, create, get, origin } = await runningEmulator(t)
  emulator.addDistortion({ members: { created_at: '+275760-09-13T00:00:00.000Z' } })
  emulator.addDistortion({ without: ['created_at'] })
  emulator.addDistortion({ members: { created_at: 7, id: '' } })
  const [far, none, number, plain] = [await bodyOf(await create()), await bodyOf(await create()), await bodyOf(await create()), await bodyOf(await create())]
  t.equal(far.created_at, '+275760-09-13T00:00:00.000Z')
  t.notOk('created_at' in none)
  t.match(number, { created_at: 7, id: '', status: 'starting' })
  t.match(plain.created_at, /^20\d\d-/)
  t.equal((await bodyOf(await get(`/v1/predictions/${far.id}`))).created_at, far.created_at)
  const { results } = await bodyOf<Page>(await get('/v1/predictions'))
  t.same(results.map(({ created_at: createdAt }) => createdAt), [plain.created_at, 7, undefined, far.created_at], 'each in its true place')
  const distort = await fetch(`${origin}/emulator/predictions/${plain.id}/distort`, { method: 'POST', headers: auth, body: JSON.stringify({ members: { created_at: '' } }) })
  t.match(await distort.json(), { id: plain.id, created_at: '' })
  t.equal((await bodyOf(await get(`/v1/predictions/${plain.id}`))).created_at, '')
})

t.test('Cancel-After aborts what has not started and cancels what has', async (t) => {
  const clock = handClock()
  const { emulator, create } = await runningEmulator(t, { generationMs: 60_000, startingMs: 10_000, now: clock.now })
  for (const header of ['5', '1h0m20s', '20s']) t.equal((await create(undefined, { 'cancel-after': header })).status, 201)
  for (const header of ['4', '4s', 'soon', '1d']) t.equal((await create(undefined, { 'cancel-after': header })).status, 422, header)
  t.equal(emulator.predictions[0]?.deadline, '2025-01-01T00:00:05.000Z')
  clock.advance(30_000)
  t.same(emulator.predictions.map(({ status }) => status), ['aborted', 'processing', 'canceled'])
})

t.test('a cancel of an ended prediction changes nothing', async (t) => {
  const clock = handClock()
  const { origin, create } = await runningEmulator(t, { now: clock.now })
  const { urls } = await bodyOf(await create())
  clock.advance(300)
  t.ok(urls.cancel.startsWith(origin))
  t.match(await (await fetch(urls.cancel, { method: 'POST', headers: auth })).json(), { status: 'succeeded' })
})

t.test('a list has the predictions between created_after and created_before', async (t) => {
  const clock = handClock()
  const { create, get } = await runningEmulator(t, { now: clock.now })
  const made = []
  for (let number = 0; number < 4; number++) {
    made.push(await bodyOf(await create()))
    clock.advance(1000)
  }
  const search = new URLSearchParams({ created_after: made[1]?.created_at ?? '', created_before: made[3]?.created_at ?? '' })
  const { results, next, previous } = await bodyOf<Page>(await get(`/v1/predictions?${search}`))
  t.same(results.map(({ id }) => id), [made[2]?.id, made[1]?.id])
  t.same([next, previous], [null, null])
  t.equal((await get('/v1/predictions?created_after=yesterday')).status, 400)
  t.equal((await get('/v1/predictions?cursor=x')).status, 400)
})

t.test('the 601st create of a minute is refused with 429 and a Retry-After', async (t) => {
  const clock = handClock()
  const { create, get, emulator } = await runningEmulator(t, { now: clock.now })
  t.equal((await get('/v1/account')).headers.get('ratelimit-remaining'), '2999')
  for (let call = 0; call < 600; call++) await (await create()).arrayBuffer()
  clock.advance(20_000)
  const refused = await create()
  t.equal(refused.status, 429)
  t.equal(refused.headers.get('retry-after'), '40')
  t.match(await refused.json(), { retry_after: 40 })
  t.equal(emulator.predictions.length, 600)
  clock.advance(40_000)
  t.equal((await create()).status, 201)
})
