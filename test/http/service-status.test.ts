import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { ended, postDream, startService } from '../support/service.ts'

t.test('a service without tasks says so', async (t) => {
  const { app } = await startService(t)
  const response = await app.inject('/status')
  t.match(response, { statusCode: 200, headers: { 'cache-control': 'no-store', 'content-type': /^application\/json/ } })
  const { history, ...present } = response.json()
  t.strictSame(present, {
    open: 0, in_flight: 0, completed_last_hour: 0, failed_last_hour: 0, oldest_waiting_seconds: null, provider: { state: 'available', breaker: 'closed', reason: null }
  })
  t.equal(history.length, 60)
  const times = history.map(({ time }: { time: string }) => Date.parse(time))
  t.same(times.map((time: number) => time - times[0]), Array.from({ length: 60 }, (_, index) => index * 60_000))
  t.ok(Math.abs(Date.now() - times[59]) <= 60_000, 'the last minute is the present one')
  t.match(history[59], { time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:00\.000Z$/, open: 0, completed: 0, failed: 0 })
})

/** The status as soon as it has these members; it may be two seconds old. */
async function untilStatus (app: FastifyInstance, expected: Record<string, unknown>) {
  return await until(async () => {
    const status = (await app.inject('/status')).json()
    return Object.entries(expected).every(([name, value]) => status[name] === value) ? status : undefined
  }, `the status ${JSON.stringify(expected)}`)
}

t.test('the tasks of the last hour are counted, and deleted ones are not', async (t) => {
  const { app, emulator } = await startService(t)
  const ids = [await postDream(app), await postDream(app), await postDream(app)]
  for (const id of ids) await ended(app, id)
  emulator.addOutcome({ status: 'failed', error: 'no video', share: 1 })
  await ended(app, await postDream(app))
  const status = await untilStatus(app, { open: 0, completed_last_hour: 3, failed_last_hour: 1, oldest_waiting_seconds: null })
  const totals = (name: string) => status.history.reduce((sum: number, minute: Record<string, number>) => sum + (minute[name] ?? 0), 0)
  t.same([totals('completed'), totals('failed'), status.history.at(-1).open], [3, 1, 0])
  t.equal((await app.inject({ method: 'DELETE', url: `/video-status/${ids[0]}` })).statusCode, 204)
  await untilStatus(app, { completed_last_hour: 2, failed_last_hour: 1 })
})

t.test('open tasks are in flight or wait for Replicate, and the status says why they wait', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 } })
  await postDream(app)
  t.match(await untilStatus(app, { open: 1, in_flight: 1 }), { oldest_waiting_seconds: null, provider: { state: 'available' } })
  emulator.addFault({ call: 'create', kind: 'status', status: 402, share: 1 })
  await postDream(app)
  await postDream(app)
  await until(() => app.submissionGate.breakerState === 'open', 'the breaker to open')
  const status = await untilStatus(app, { open: 3, in_flight: 1 })
  t.match(status, { oldest_waiting_seconds: Number, provider: { state: 'unavailable', breaker: /^(half_)?open$/, reason: 'provider_account' } })
  t.ok(status.oldest_waiting_seconds >= 0 && status.oldest_waiting_seconds < 60)
  t.equal(status.history.at(-1).open, 3)
})

t.test('a pause that Replicate asks for is a limit', async (t) => {
  const { app, emulator } = await startService(t)
  emulator.addFault({ call: 'create', kind: 'status', status: 429, retry_after: 60 })
  await postDream(app)
  await until(() => app.submissionGate.blockReason !== undefined, 'the pause')
  t.match((await app.inject('/status')).json().provider, { state: 'limited', breaker: 'closed', reason: 'provider_rate_limited' })
})

t.test('only operators see the status', async (t) => {
  const [studio, admin] = [newTestKey('studio'), newTestKey('admin', { admin: true })]
  const { app } = await startService(t, { env: { API_KEYS: keyList([studio, admin], { name: 'anonymous' }), READS_PER_MINUTE: '100' } })
  t.match((await app.inject('/status')).json(), { status: 401, code: 'api_key_missing' })
  t.match((await app.inject({ url: '/status', headers: { authorization: 'Bearer no-key' } })).json(), { status: 401, code: 'api_key_invalid' })
  t.match((await app.inject({ url: '/status', headers: studio.headers })).json(), { status: 403, code: 'admin_required' })
  const allowed = await app.inject({ url: '/status', headers: admin.headers })
  t.match(allowed, { statusCode: 200, headers: { ratelimit: /^"read";r=\d+;t=\d+$/ } })
  t.equal((await app.inject({ method: 'HEAD', url: '/status', headers: admin.headers })).statusCode, 200)
  const { app: reachable } = await startService(t, { env: { HOST: '0.0.0.0', ALLOW_ANONYMOUS: 'true' } })
  t.match((await reachable.inject('/status')).json(), { status: 403, code: 'keys_required' })
  const { app: proxied } = await startService(t, { env: { TRUST_PROXY: '127.0.0.1' } })
  t.match((await proxied.inject('/status')).json(), { status: 403, code: 'keys_required' })
})

t.test('however many pages ask at a time, the store is asked once', async (t) => {
  const { app } = await startService(t)
  const { countActivity } = app.taskStore
  let queries = 0
  app.taskStore.countActivity = (...parameters) => {
    queries++
    return countActivity.apply(app.taskStore, parameters)
  }
  const answers = await Promise.all(Array.from({ length: 50 }, () => app.inject('/status')))
  t.ok(answers.every(({ statusCode }) => statusCode === 200))
  t.equal((await app.inject('/status')).statusCode, 200)
  t.equal(queries, 1)
})

t.test('while the store is unavailable the status is, too', async (t) => {
  const { app } = await startService(t)
  await app.taskStore.close()
  const response = await app.inject('/status')
  t.match(response.json(), { status: 503, code: 'store_unavailable' })
  t.equal(response.headers['retry-after'], '5')
})
