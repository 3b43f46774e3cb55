import t from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { until } from '../../harness/until.ts'
import { createDatabase } from '../support/postgres.ts'
import { slow } from '../support/quick.ts'
import { ended, postDream, startEmulator, startService, testEnvironment } from '../support/service.ts'

const wait = (taskId: string, prefer: string, headers: Record<string, string> = {}) =>
  ({ url: `/video-status/${taskId}`, headers: { prefer, ...headers } })

t.test('a client that prefers to wait gets its response when the task ends', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 } })
  const taskId = await postDream(app)
  const waiting = Promise.all(Array.from({ length: 50 }, () => app.inject(wait(taskId, 'wait=60'))))
  await until(() => emulator.predictions.length === 1 || undefined, 'the prediction')
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  for (const response of await waiting) {
    t.equal(response.statusCode, 200)
    t.match(response.json(), { status: 'completed' })
    t.match(response.headers, { 'preference-applied': 'wait=60', vary: 'Prefer', 'cache-control': 'no-store' })
  }
})

t.test('a client that has waited its time gets the current task', async (t) => {
  const { app } = await startService(t, { emulator: { generationMs: 600_000 } })
  const taskId = await postDream(app)
  const response = await app.inject(wait(taskId, 'respond-async, wait=1'))
  t.match(response.json(), { status: /^(pending|processing)$/ })
  t.match(response.headers, { 'preference-applied': 'wait=1', 'retry-after': '5' })
})

t.test('a wait of more than a minute counts as a minute, and an invalid one is ignored', async (t) => {
  const { app } = await startService(t)
  const taskId = await postDream(app)
  await ended(app, taskId)
  t.equal((await app.inject(wait(taskId, 'wait=900'))).headers['preference-applied'], 'wait=60')
  for (const prefer of ['wait', 'wait=-1', 'wait=soon', 'wait=1.5', '']) {
    t.notOk('preference-applied' in (await app.inject(wait(taskId, prefer))).headers)
  }
})

t.test('a client gets 304 if If-None-Match holds the current revision', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 } })
  const taskId = await postDream(app)
  await until(async () => (await app.inject(`/video-status/${taskId}`)).json().status === 'processing' || undefined, 'the prediction')
  const { headers: { etag = '' } } = await app.inject(`/video-status/${taskId}`)
  t.equal(etag, '"2"')
  for (const tags of [String(etag), `W/${etag}`, `"1", ${etag}`, '*']) {
    const unchanged = await app.inject({ url: `/video-status/${taskId}`, headers: { 'if-none-match': tags } })
    t.equal(unchanged.statusCode, 304)
    t.equal(unchanged.body, '')
    t.equal(unchanged.headers.etag, etag)
  }
  t.equal((await app.inject(wait(taskId, 'wait=1', { 'if-none-match': String(etag) }))).statusCode, 304)
  t.equal((await app.inject({ url: `/video-status/${taskId}`, headers: { 'if-none-match': '"1"' } })).statusCode, 200)
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  const changed = await app.inject(wait(taskId, 'wait=60', { 'if-none-match': String(etag) }))
  t.match(changed.json(), { status: 'completed', revision: 3 })
})

t.test('HEAD never waits, and a closing instance answers all waiting requests', async (t) => {
  const { app } = await startService(t, { emulator: { generationMs: 600_000 } })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const taskId = await postDream(app)
  t.equal((await fetch(`${url}/video-status/${taskId}`, { method: 'HEAD', headers: { prefer: 'wait=60' } })).status, 200)
  const waiting = fetch(`${url}/video-status/${taskId}`, { headers: { prefer: 'wait=60' } })
  await until(() => app.taskSubscriptions.size === 1 || undefined, 'the request to wait')
  await app.close()
  t.equal((await waiting).status, 200)
})

t.test('a waiting client is notified at once when another instance ends the task', slow, async (t) => {
  const { emulator, apiUrl } = await startEmulator(t, { generationMs: 600_000 })
  const databaseUrl = await createDatabase(t)
  const config = readConfig({ ...testEnvironment, REPLICATE_API_URL: apiUrl, DATABASE_URL: databaseUrl })
  const start = async () => {
    const app = await buildApp(config, { logStream: { write: () => {} } })
    t.teardown(() => app.close())
    await app.ready()
    return app
  }
  const worker = await start()
  const taskId = await postDream(worker)
  await until(() => emulator.predictions.length === 1 || undefined, 'the prediction')
  const other = await start()
  const waiting = other.inject(wait(taskId, 'wait=60'))
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  t.match((await waiting).json(), { status: 'completed' })
})
