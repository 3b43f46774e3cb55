import pg from 'pg'
import t, { type Test } from 'tap'
import type { ReceivedCallback } from '../../harness/callback-receiver.ts'
import { until } from '../../harness/until.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import { startReceiver, verified } from '../support/callback-receiver.ts'
import { createDatabase } from '../support/postgres.ts'
import { slow, slowOn } from '../support/quick.ts'
import { runService } from '../support/running-service.ts'
import { ended, startEmulator, startService, statusOf } from '../support/service.ts'

const secret = newWebhookSecret()
const callbackEnv = { CALLBACK_SECRET: secret, ALLOW_PRIVATE_CALLBACKS: 'true' }
type App = Awaited<ReturnType<typeof startService>>['app']

const stores: Record<string, (t: Test) => Promise<Record<string, string>>> = {
  SQLite: async (t) => ({ DATA_DIR: t.testdir() }),
  PostgreSQL: async (t) => ({ DATABASE_URL: await createDatabase(t) })
}

function post (app: App, callbackUrl: string, { style = 'Cursed', headers = {} }: { style?: string, headers?: Record<string, string> } = {}) {
  return app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style, callback_url: callbackUrl }, headers })
}

async function received (all: ReceivedCallback[], count = 1): Promise<ReceivedCallback[]> {
  return until(() => all.length >= count ? all : undefined, `${count} callbacks`)
}

t.test('a lease that is lost and claimed again while a receiver is slow causes no second message', slow, async (t) => {
  const databaseUrl = await createDatabase(t)
  const { app } = await startService(t, { env: { ...callbackEnv, DATABASE_URL: databaseUrl } })
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  const stateOf = async () => (await client.query("select state, retry_count from pgboss.job where name = 'deliver'")).rows[0]
  let answer = () => {}
  const receiver = await startReceiver(t, (response) => { answer = () => response.writeHead(204).end() }, 204)
  await post(app, receiver.url)
  await received(receiver.received)
  await until(async () => {
    await client.query("update pgboss.job set heartbeat_on = now() - interval '1 minute' where name = 'deliver' and state = 'active' and retry_count = 0")
    const { state, retry_count: retries } = await stateOf()
    return (state === 'active' && retries > 0) || undefined
  }, 'the lease to be lost and claimed again')
  answer()
  await until(async () => (await stateOf()).state === 'completed' || undefined, 'the delivery to be settled')
  t.equal(receiver.received.length, 1)
})

t.test('a stopping instance starts no delivery while it waits for a receiver', async (t) => {
  const { app, emulator, logLines } = await startService(t, { env: callbackEnv, emulator: { generationMs: 600_000 } })
  let answer = () => {}
  const receiver = await startReceiver(t, (response) => { answer = () => response.writeHead(204).end() })
  await post(app, receiver.url)
  const cancelled = (await post(app, receiver.url)).json().task_id
  await until(() => emulator.predictions.length === 2 || undefined, 'both predictions')
  await app.inject({ method: 'POST', url: `/video-status/${cancelled}/cancel` })
  await received(receiver.received)
  const closed = app.close()
  await until(() => app.generationJobs.inFlight === 0 || undefined, 'the jobs to be released')
  t.notOk(logLines.some((line) => line.includes('Callback')), 'the receiver is still waited for')
  answer()
  await closed
  t.ok(logLines.some((line) => line.includes('Callback delivered')))
})

for (const [store, envOf] of Object.entries(stores)) {
  t.test(`${store}: the callback address gets one message about the end of the task`, slowOn(store), async (t) => {
    const { app, emulator } = await startService(t, { env: { ...callbackEnv, ...await envOf(t) } })
    const receiver = await startReceiver(t)
    const ends: string[] = []
    for (const end of ['video.completed', 'video.failed', 'video.failed']) {
      if (ends.length === 1) emulator.addOutcome({ status: 'failed', error: 'E005' })
      const taskId = (await post(app, receiver.url)).json().task_id
      if (ends.length === 2) await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })
      const task = await ended(app, taskId)
      const message = (await received(receiver.received, ends.length + 1)).at(-1)
      if (message === undefined) throw new Error('Nothing received')
      t.strictSame(verified(secret, message), { type: end, timestamp: task.updated_at, data: task })
      t.strictSame(Object.keys(JSON.parse(message.body).data), Object.keys(task))
      t.match(message, { address: receiver.url, headers: { 'content-type': 'application/json', 'webhook-id': taskId, 'user-agent': /^Dreamreel\/\d/ } })
      ends.push(taskId)
    }
    const withoutCallback = (await app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' } })).json().task_id
    await ended(app, withoutCallback)
    t.same(receiver.received.map(({ headers }) => headers['webhook-id']), ends)
  })

  t.test(`${store}: a message that was not accepted is sent again, with a new signature`, slowOn(store), async (t) => {
    const { app, logLines } = await startService(t, { env: { ...callbackEnv, ...await envOf(t) } })
    const receiver = await startReceiver(t, 500, 204)
    const taskId = (await post(app, receiver.url)).json().task_id
    const [first, second] = await received(receiver.received, 2)
    if (first === undefined || second === undefined) throw new Error('Nothing received')
    t.equal(first.body, second.body)
    t.equal(second.headers['webhook-id'], taskId)
    t.ok(second.at - first.at >= 4_900, `${second.at - first.at} ms`)
    t.not(first.headers['webhook-timestamp'], second.headers['webhook-timestamp'])
    t.match(verified(secret, second), { data: await statusOf(app, taskId) })
    await until(() => logLines.some((line) => line.includes('Callback delivered')) || undefined, 'the delivery to be noted')
    t.notMatch(logLines.join(''), /dreams\?|a-caller|A whale|whsec_/)
  })

  t.test(`${store}: kill -9 in the middle of an attempt loses nothing, because another process repeats it`, slow, async (t) => {
    const { apiUrl } = await startEmulator(t)
    const env = { ...callbackEnv, ...await envOf(t), REPLICATE_API_URL: apiUrl }
    const receiver = await startReceiver(t, 'silence', 204)
    const first = await runService(t, env)
    const response = await fetch(`${await first.listeningUrl()}/generate-video?dream=A+whale&style=Cursed&callback_url=${encodeURIComponent(receiver.url)}`, { method: 'POST' })
    const { task_id: taskId } = await response.json() as { task_id: string }
    await received(receiver.received, 1)
    await first.end('SIGKILL')
    const second = await runService(t, env)
    const [, again] = await received(receiver.received, 2)
    if (again === undefined) throw new Error('Nothing received')
    t.match(verified(secret, again), { type: 'video.completed', data: { task_id: taskId } })
    await until(() => second.output().includes('Callback delivered') || undefined, 'the delivery to be noted')
  })

  t.test(`${store}: a stopping instance waits for the response, so that the message is not sent twice`, slowOn(store), async (t) => {
    const env = { ...callbackEnv, ...await envOf(t) }
    const { app } = await startService(t, { env })
    let answer = () => {}
    const receiver = await startReceiver(t, (response) => { answer = () => response.writeHead(204).end() }, 204)
    await post(app, receiver.url)
    await received(receiver.received, 1)
    const closed = app.close()
    await until(() => app.generationJobs.inFlight === 0 || undefined, 'the jobs to be released')
    answer()
    await closed
    const { app: next } = await startService(t, { env })
    await ended(next, (await post(next, receiver.url)).json().task_id)
    await received(receiver.received, 2)
    t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 2)
  })

  t.test(`${store}: a delivery that is due while there is no secret waits for one`, slowOn(store), async (t) => {
    const env = await envOf(t)
    const receiver = await startReceiver(t)
    const { app } = await startService(t, { env: { ...callbackEnv, ...env }, emulator: { generationMs: 600_000 } })
    const taskId = (await post(app, receiver.url)).json().task_id
    await app.close()
    const { app: unsigned } = await startService(t, { env })
    await unsigned.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })
    await unsigned.close()
    t.same(receiver.received, [])
    await startService(t, { env: { ...callbackEnv, ...env } })
    await received(receiver.received, 1)
  })

  t.test(`${store}: the callback address is part of what an idempotency key identifies`, slowOn(store), async (t) => {
    const { app } = await startService(t, { env: { ...callbackEnv, ...await envOf(t) } })
    const receiver = await startReceiver(t)
    const headers = { 'idempotency-key': 'a-key' }
    const first = await post(app, receiver.url, { headers })
    t.match(await post(app, receiver.url, { headers }), { statusCode: 200, headers: { 'idempotency-replayed': 'true' }, body: first.body })
    t.match((await post(app, `${receiver.url}&else`, { headers })).json(), { status: 422, code: 'idempotency_key_reused' })
    t.match((await app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' }, headers })).json(), { code: 'idempotency_key_reused' })
    await ended(app, first.json().task_id)
    await received(receiver.received, 1)
    t.equal(receiver.received.length, 1)
  })
}

for (const [store, envOf] of Object.entries(stores)) {
  t.test(`${store}: a host that hangs gets sixteen deliveries at a time and delays no other, and waiting for it costs no attempt`, slowOn(store), async (t) => {
    const { app, logLines } = await startService(t, { env: { ...callbackEnv, ...await envOf(t) } })
    const open: Array<() => void> = []
    let areAnswered = false
    let [concurrent, maxConcurrent] = [0, 0]
    const hanging = await startReceiver(t, (response) => {
      maxConcurrent = Math.max(maxConcurrent, ++concurrent)
      response.once('close', () => { concurrent-- })
      if (areAnswered) response.writeHead(204).end()
      else open.push(() => response.writeHead(204).end())
    })
    const other = await startReceiver(t)
    const taskIds = await Promise.all(Array.from({ length: 40 }, async () => (await post(app, hanging.url)).json().task_id))
    for (const taskId of taskIds) await ended(app, taskId)
    await post(app, other.url)
    await received(other.received)
    areAnswered = true
    for (const answer of open) answer()
    await received(hanging.received, 40)
    const linesWith = (...texts: string[]) => logLines.filter((line) => texts.every((text) => line.includes(text))).length
    await until(() => linesWith('Callback delivered') === 41 || undefined, 'all to be noted')
    t.equal(maxConcurrent, 16)
    // On a busy machine a hanging delivery may have timed out before it was answered, which is an attempt.
    t.equal(linesWith('Callback delivered', '"attempt":1,') + linesWith('Callback not delivered', '"attempt":1,'), 41)
  })
}

t.test('an invalid callback address is 422, reported with every other fault, and creates no task', async (t) => {
  const { app, emulator } = await startService(t, { env: { CALLBACK_SECRET: secret } })
  for (const [url, msg] of [
    ['http://app.example.com/', /https/], ['https://127.0.0.1/', /public/], ['https://[::1]/', /public/], ['https://app.example.com:8443/', /443/], ['', /https/],
    ['https://a:b@app.example.com/', /user name/], ['https://:@h/', /user name/], ['https://x..test/', /host/], ['\u0000', /U\+0000/], [`https://app.example.com/${'a'.repeat(2_048)}`, /2,048/], ['🐋', /https/]
  ] as const) {
    const response = await post(app, url, { style: 'Wrong' })
    t.match(response.json(), { status: 422, code: 'validation_failed', errors: [{ loc: ['query', 'style'] }, { loc: ['query', 'callback_url'], msg }] }, url)
  }
  const twice = await app.inject({ method: 'POST', url: '/generate-video?dream=A&style=Cursed&callback_url=https://a.example/&callback_url=https://b.example/' })
  t.match(twice.json(), { errors: [{ loc: ['query', 'callback_url'], type: 'repeated' }] })
  t.equal(emulator.predictions.length, 0)
})

t.test('without a secret a callback address is 422, and a request without one is accepted', async (t) => {
  const { app } = await startService(t)
  t.match((await post(app, 'https://app.example.com/')).json(), { status: 422, errors: [{ loc: ['query', 'callback_url'], msg: /CALLBACK_SECRET/ }] })
  t.equal((await app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' } })).statusCode, 200)
})
