import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import type { PredictionView } from '../../replicate-emulator/prediction.ts'
import { auth, bodyOf, handClock, runningEmulator } from './running-emulator.ts'

const minute = 60_000

t.test('all times that clients see are those of the skewed clock, and nothing happens earlier or later', async (t) => {
  const clock = handClock()
  const { create, get } = await runningEmulator(t, { generationMs: 4000, startingMs: 1000, now: clock.now, clockSkewMs: 3 * minute })
  const { id, created_at: createdAt, deadline } = await bodyOf(await create(undefined, { 'cancel-after': '90' }))
  t.equal(createdAt, '2025-01-01T00:03:00.000000Z')
  t.equal(deadline, '2025-01-01T00:04:30.000Z')
  clock.advance(3999)
  t.match(await bodyOf(await get(`/v1/predictions/${id}`)), { status: 'processing', started_at: '2025-01-01T00:03:01.000Z' })
  clock.advance(1)
  t.match(await bodyOf(await get(`/v1/predictions/${id}`)), { status: 'succeeded', completed_at: '2025-01-01T00:03:04.000Z', metrics: { predict_time: 3, total_time: 4 } })
})

t.test('the Date header of every answer is the skewed clock', async (t) => {
  const clock = handClock()
  const { emulator, create, get } = await runningEmulator(t, { now: clock.now, clockSkewMs: -2 * minute })
  const dates = async (...answers: Array<Promise<Response>>) => (await Promise.all(answers)).map(({ headers }) => headers.get('date'))
  const behind = 'Tue, 31 Dec 2024 23:58:00 GMT'
  t.same(await dates(create(), create({}), get('/v1/predictions'), get('/v1/nothing'), get('/v1/account', { authorization: '' })), Array(5).fill(behind))
  emulator.addFault({ call: 'list', kind: 'html' })
  t.same(await dates(get('/v1/predictions')), [behind])
  emulator.clock.skewMs = 0
  t.same(await dates(get('/v1/account')), ['Wed, 01 Jan 2025 00:00:00 GMT'])
})

t.test('created_after and created_before are times of the skewed clock', async (t) => {
  const clock = handClock()
  const { create, get } = await runningEmulator(t, { now: clock.now, clockSkewMs: 3 * minute })
  const { id } = await bodyOf(await create())
  const found = async (query: string) => (await bodyOf<{ results: PredictionView[] }>(await get(`/v1/predictions?${query}`))).results.map(({ id }) => id)
  t.same(await found('created_after=2025-01-01T00:02:59Z'), [id])
  t.same(await found('created_before=2025-01-01T00:02:59Z'), [], 'by the true clock it would be older')
})

t.test('a step changes all later times, and the list is in the order of the times that it shows', async (t) => {
  const clock = handClock()
  const { origin, create, get } = await runningEmulator(t, { generationMs: 4000, startingMs: 1000, now: clock.now, clockSkewMs: 10 * minute })
  const early = await bodyOf(await create())
  clock.advance(2000)
  const step = await fetch(`${origin}/emulator/clock`, { method: 'PUT', headers: auth, body: JSON.stringify({ skewMs: -minute }) })
  t.same(await step.json(), { skewMs: -minute, now: '2024-12-31T23:59:02.000Z' })
  const late = await bodyOf(await create())
  t.equal(late.created_at, '2024-12-31T23:59:02.000000Z')
  clock.advance(2000)
  t.match(await bodyOf(await get(`/v1/predictions/${early.id}`)), {
    created_at: '2025-01-01T00:10:00.000000Z', started_at: '2025-01-01T00:10:01.000Z', completed_at: '2024-12-31T23:59:04.000Z'
  })
  const { results } = await bodyOf<{ results: PredictionView[] }>(await get('/v1/predictions'))
  t.same(results.map(({ id }) => id), [early.id, late.id], 'the newest by its stamp comes first')
  t.match(await (await get('/emulator/state')).json(), { clock: { skewMs: -minute } })
})

t.test('a webhook is signed with the skewed time', async (t) => {
  const received = Promise.withResolvers<{ headers: Record<string, string>, body: string }>()
  const receiver = createServer((request, response) => {
    text(request).then((body) => {
      received.resolve({ headers: request.headers as Record<string, string>, body })
      response.end()
    }).catch(t.fail)
  }).listen(0, '127.0.0.1')
  t.teardown(() => { receiver.close() })
  await once(receiver, 'listening')
  const webhook = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`
  const { emulator, create } = await runningEmulator(t, { generationMs: 0, allowHttpWebhooks: true, clockSkewMs: 10 * minute })
  await create({ input: { prompt: 'a dream' }, webhook, webhook_events_filter: ['completed'] })
  const { headers, body } = await received.promise
  const stamp = Number(headers['webhook-timestamp'])
  t.ok(stamp > Date.now() / 1000 + 5 * 60)
  t.equal(headers['webhook-signature'], new Webhook(emulator.webhookSecret).sign(String(headers['webhook-id']), new Date(stamp * 1000), body))
})
