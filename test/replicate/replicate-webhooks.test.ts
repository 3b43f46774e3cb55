import { once } from 'node:events'
import { createServer } from 'node:net'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { until } from '../../harness/until.ts'
import type { EmulatorOptions } from '../../replicate-emulator/app.ts'
import { predictEnded } from '../support/predict.ts'
import { openRaw, readAnswer, type RawAnswer } from '../support/raw-exchange.ts'
import { ended, postDream, startEmulator, statusOf, testEnvironment } from '../support/service.ts'

/** A port that is free: the service's own address has to be known before it listens. */
async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** The service with webhooks; it polls predictions only once a minute. */
async function startService (t: Test, options: EmulatorOptions = {}, env: Record<string, string> = {}) {
  const { emulator, apiUrl } = await startEmulator(t, { allowHttpWebhooks: true, ...options })
  const port = await freePort()
  const startAgain = async (changes: Record<string, string>) => {
    const config = readConfig({
      ...testEnvironment, REPLICATE_API_URL: apiUrl, PUBLIC_URL: `http://127.0.0.1:${port}`, REPLICATE_WEBHOOKS: 'on', ...env, ...changes
    })
    const app = await buildApp(config, { logStream: { write: () => {} } })
    t.teardown(() => app.close())
    await app.listen({ port, host: '127.0.0.1' })
    return app
  }
  return { app: await startAgain({}), emulator, apiUrl, publicUrl: `http://127.0.0.1:${port}`, startAgain }
}

type Service = Awaited<ReturnType<typeof startService>>

/** Signed as Replicate signs, unless the options differ. */
async function deliver ({ app, emulator }: Service, taskId: string, body: string, { at = new Date(), secret = emulator.webhookSecret } = {}): Promise<number> {
  const response = await app.inject({ method: 'POST', url: `/webhooks/replicate/${taskId}`, headers: signed(secret, body, at), body })
  return response.statusCode
}

function signed (secret: string, body: string, at = new Date()) {
  return {
    'content-type': 'application/json',
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign('msg_1', at, body)
  }
}

async function processing (service: Service, dream: string): Promise<string> {
  const taskId = await postDream(service.app, dream)
  await until(async () => (await statusOf(service.app, taskId)).status === 'processing' || undefined, 'the prediction to be attached')
  return taskId
}

t.test('the end of a prediction is received without a single read', async (t) => {
  const service = await startService(t, { generationMs: 100 })
  const taskIds = await Promise.all(Array.from({ length: 20 }, (_, dream) => postDream(service.app, `Dream ${dream}`)))
  for (const taskId of taskIds) t.match(await ended(service.app, taskId), { status: 'completed' })
  t.equal(service.emulator.calls.get, 0)
  t.match(service.emulator.log.all[0], { webhook: /\/webhooks\/replicate\// })
})

t.test('the end of a prediction before the response to its create is received as well', async (t) => {
  const service = await startService(t, { generationMs: 0, latencyMs: 300 })
  t.match(await ended(service.app, await postDream(service.app)), { status: 'completed' })
  t.equal(service.emulator.calls.get, 0)
})

t.test('a lost response is recovered as soon as the prediction starts, even if no search is possible', async (t) => {
  const service = await startService(t, { startingMs: 1_000, generationMs: 600_000 })
  service.emulator.addFault({ call: 'list', kind: 'status', status: 500, share: 1 })
  service.emulator.addFault({ call: 'create', kind: 'reset_after' })
  await processing(service, 'A whale')
  t.equal(service.emulator.calls.create, 1)
})

t.test('a prediction that starts after its task was canceled is canceled, even if no search is possible', async (t) => {
  const service = await startService(t, { startingMs: 1_500, generationMs: 600_000 })
  const { app, emulator } = service
  emulator.addFault({ call: 'list', kind: 'status', status: 500, share: 1 })
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  const taskId = await postDream(app)
  await until(() => emulator.predictions.length === 1 || undefined, 'the create')
  await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })
  await until(() => emulator.predictions[0]?.status === 'canceled' || undefined, 'the prediction to be canceled')
  t.match(await statusOf(app, taskId), { status: 'failed', error_code: 'canceled' })
})

t.test('a cancel that fails when the webhook comes is repeated by the search', async (t) => {
  const service = await startService(t, { startingMs: 1_500, generationMs: 600_000 })
  const { app, emulator } = service
  emulator.addFault({ call: 'list', kind: 'status', status: 500, share: 1 })
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  emulator.addFault({ call: 'cancel', kind: 'status', status: 500 })
  const taskId = await postDream(app)
  await until(() => emulator.predictions.length === 1 || undefined, 'the create')
  await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })
  await until(() => emulator.calls.cancel === 1 || undefined, 'the cancel that fails')
  emulator.clearFaults()
  await until(() => emulator.predictions[0]?.status === 'canceled' || undefined, 'the prediction to be canceled')
})

t.test('a lost response is recovered by the webhook that names the task', async (t) => {
  const service = await startService(t, { generationMs: 100 })
  service.emulator.addFault({ call: 'create', kind: 'hang', after: true })
  service.emulator.addFault({ call: 'list', kind: 'status', status: 500, share: 1 })
  const taskId = await postDream(service.app)
  await until(async () => (await statusOf(service.app, taskId)).status !== 'pending' || undefined, 'the webhook to attach the prediction')
  t.match(await ended(service.app, taskId), { status: 'completed' })
  t.equal(service.emulator.predictions.length, 1)
})

t.test('the prediction of a resumed task is read at once: its webhook may have come while no instance ran', async (t) => {
  const service = await startService(t, { generationMs: 600_000 }, { DATA_DIR: t.testdir() })
  const taskId = await processing(service, 'A whale')
  await service.app.close()
  const [prediction] = service.emulator.log.all
  if (prediction === undefined) throw new Error('No prediction')
  t.equal(service.emulator.calls.get, 0)
  const resumed = await service.startAgain({})
  await until(() => service.emulator.calls.get === 1 || undefined, 'the poll')
  service.emulator.end(prediction, { status: 'succeeded' })
  t.match(await ended(resumed, taskId), { status: 'completed' })
  t.equal(service.emulator.calls.get, 1, 'the webhook told the end')
})

t.test('a prediction that was made without a webhook is read at the usual pace', async (t) => {
  const service = await startService(t, { generationMs: 600_000 }, { DATA_DIR: t.testdir(), REPLICATE_WEBHOOKS: 'off' })
  const taskId = await processing(service, 'A whale')
  await service.app.close()
  const resumed = await service.startAgain({ REPLICATE_WEBHOOKS: 'on' })
  const { get } = service.emulator.calls
  await until(() => service.emulator.calls.get >= get + 3 || undefined, 'three reads')
  for (const prediction of service.emulator.log.all) service.emulator.end(prediction, { status: 'succeeded' })
  t.match(await ended(resumed, taskId), { status: 'completed' })
})

t.test('a webhook without a recent signature of Replicate is refused and changes nothing', async (t) => {
  const service = await startService(t, { generationMs: 600_000 })
  const { app, emulator } = service
  const taskId = await processing(service, 'A whale')
  const [prediction] = emulator.predictions
  const body = JSON.stringify({ ...prediction, status: 'failed', error: 'E005' })
  const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000)
  t.equal(await deliver(service, taskId, body, { secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}` }), 401)
  t.equal(await deliver(service, taskId, body, { at: minutesAgo(6) }), 401)
  t.equal(await deliver(service, taskId, body, { at: minutesAgo(-6) }), 401)
  for (const headers of [{}, { 'webhook-id': 'x', 'webhook-timestamp': 'soon', 'webhook-signature': 'v1' }]) {
    t.match((await app.inject({ method: 'POST', url: `/webhooks/replicate/${taskId}`, headers, body })).json(), { code: 'webhook_not_authentic' })
  }
  t.equal(await deliver(service, taskId, 'no json'), 400)
  t.equal(await deliver(service, taskId, '{"id":"../x","status":"failed"}'), 400)
  t.equal((await statusOf(app, taskId)).status, 'processing')
  t.equal(await deliver(service, taskId, body), 204)
  t.match(await ended(app, taskId), { status: 'failed', error_code: 'content_policy' })
})

/** The head of a webhook that announces a body, on a raw connection. */
function headOf (secret: string, length: number, { at = new Date(), signature = new Webhook(secret).sign('msg_1', at, '') } = {}): string {
  const lines = [
    'POST /webhooks/replicate/x HTTP/1.1', 'Host: localhost', `Content-Length: ${length}`, 'webhook-id: msg_1',
    `webhook-timestamp: ${Math.floor(at.getTime() / 1000)}`, `webhook-signature: ${signature}`
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

t.test('a webhook that its headers disqualify is refused before its body has come', async (t) => {
  const { app, emulator: { webhookSecret: secret }, publicUrl } = await startService(t)
  const unknown = await startService(t, {}, { REPLICATE_API_URL: 'http://127.0.0.1:9/v1' })
  const refusalOf = async (address: string, head: string) => {
    const socket = await openRaw(t, Number(new URL(address).port))
    socket.write(head)
    return await readAnswer(socket)
  }
  await until(async () => (await app.inject({ method: 'POST', url: '/webhooks/replicate/x', headers: signed(secret, '{}'), body: '{}' })).statusCode === 400 || undefined, 'the secret to be known')
  const minutes = (count: number) => new Date(Date.now() + count * 60_000)
  t.match(await refusalOf(publicUrl, headOf(secret, 8 * 1024 * 1024 + 1)), { status: 413, body: /payload_too_large/ })
  for (const given of [{ at: minutes(-6) }, { at: minutes(6) }, { signature: 'v1' }, { signature: 'v2,x v1,x' }]) {
    t.match(await refusalOf(publicUrl, headOf(secret, 8_000_000, given)), { status: 401, body: /webhook_not_authentic/ })
  }
  t.match(await refusalOf(publicUrl, 'POST /webhooks/replicate/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n'), { status: 401 })
  const unverifiable = await refusalOf(unknown.publicUrl, headOf(secret, 8_000_000))
  t.match(unverifiable, { status: 503, body: /webhook_unverifiable/ })
  t.equal(unverifiable.headers.get('retry-after'), '5')
})

t.test('incomplete bodies are kept up to a budget, which they return', async (t) => {
  const { app, emulator: { webhookSecret: secret }, publicUrl } = await startService(t)
  const large = `{"id":"x","logs":"${'a'.repeat(8_000_000)}"}`
  const post = () => app.inject({ method: 'POST', url: '/webhooks/replicate/x', headers: signed(secret, large), body: large })
  await until(async () => (await post()).statusCode === 400 || undefined, 'the secret to be known')
  const answers: RawAnswer[] = []
  const sockets = await Promise.all(Array.from({ length: 5 }, () => openRaw(t, Number(new URL(publicUrl).port))))
  for (const socket of sockets) {
    socket.write(headOf(secret, 8 * 1024 * 1024))
    socket.write(Buffer.alloc(8 * 1024 * 1024 - 1))
    readAnswer(socket).then((answer) => answers.push(answer), () => {})
  }
  const first = await until(() => answers[0], 'one to be refused')
  t.match(first, { status: 503, body: /webhook_unverifiable/ })
  t.equal(first.headers.get('retry-after'), '5')
  for (const socket of sockets) socket.destroy()
  await until(async () => (await post()).statusCode === 400 || undefined, 'the room to be given back')
  for (let count = 0; count < 5; count++) t.equal((await post()).statusCode, 400)
})

t.test('one of several signatures is enough, as while a secret is being replaced', async (t) => {
  const service = await startService(t)
  const { emulator: { webhookSecret: secret } } = service
  const other = signed(`whsec_${Buffer.alloc(32, 7).toString('base64')}`, '{}')['webhook-signature']
  const headers = signed(secret, '{}')
  const both = { ...headers, 'webhook-signature': `${other} v2,x ${headers['webhook-signature']}` }
  const post = (headers: Record<string, string>) => service.app.inject({ method: 'POST', url: '/webhooks/replicate/x', headers, body: '{}' })
  await until(async () => (await post(headers)).statusCode === 400 || undefined, 'the secret to be known')
  t.equal((await post(both)).statusCode, 400, 'no prediction, but authentic')
  t.equal((await post({ ...headers, 'webhook-signature': `${other} ${other}` })).statusCode, 401)
})

/** The address of a real video, that of another prediction. */
async function endedVideo (service: Service): Promise<unknown> {
  const { id } = await predictEnded(service)
  return service.emulator.predictions.find((view) => view.id === id)?.output
}

t.test('duplicates, disorder and a replay to the address of another task do no harm', async (t) => {
  const service = await startService(t, { generationMs: 600_000 })
  const { app, emulator } = service
  const taskIds = [await processing(service, 'First'), await processing(service, 'Second')]
  const [first = '', second = ''] = taskIds
  const running = JSON.stringify(emulator.predictions[0])
  const succeeded = JSON.stringify({ ...emulator.predictions[0], status: 'succeeded', output: await endedVideo(service) })
  t.equal(await deliver(service, second, succeeded), 204)
  t.equal(await deliver(service, 'unknown', succeeded), 204)
  t.equal(await deliver(service, first, running), 204)
  t.equal(await deliver(service, first, succeeded), 204)
  const completed = await ended(app, first)
  t.match(completed, { status: 'completed', video_url: /\/videos\/[\w-]{22}\.mp4$/ })
  for (const late of [running, succeeded, succeeded.replace('succeeded', 'failed')]) t.equal(await deliver(service, first, late), 204)
  t.same(await statusOf(app, first), completed)
  t.equal((await statusOf(app, second)).status, 'processing')
})

t.test('a webhook is trusted no more than a poll: a video from another host fails the task', async (t) => {
  const service = await startService(t, { generationMs: 600_000 })
  const taskId = await processing(service, 'A whale')
  const body = JSON.stringify({ ...service.emulator.predictions[0], status: 'succeeded', output: 'https://evil.example/a.mp4' })
  t.equal(await deliver(service, taskId, body), 204)
  t.match(await ended(service.app, taskId), { status: 'failed', error_code: 'provider_error', video_url: null })
})

t.test('while the secret is not known Replicate is asked to send again', async (t) => {
  const service = await startService(t, { generationMs: 100 })
  t.match(await ended(service.app, await postDream(service.app)), { status: 'completed' }, 'asked of the API')
  const other = await startService(t, { generationMs: 100 }, { REPLICATE_API_URL: 'http://127.0.0.1:9/v1' })
  t.equal(await deliver(other, 'any', '{}'), 503)
  const given = await startService(t, { generationMs: 600_000 }, { REPLICATE_WEBHOOK_SECRET: service.emulator.webhookSecret })
  const taskId = await processing(given, 'A whale')
  t.equal(await deliver(given, taskId, '{}'), 401)
  t.equal(await deliver(given, taskId, JSON.stringify(given.emulator.predictions[0]), { secret: service.emulator.webhookSecret }), 204)
})

t.test('without webhooks there is no such address, and no webhook is asked for', async (t) => {
  const service = await startService(t, {}, { REPLICATE_WEBHOOKS: 'auto' })
  t.equal((await service.app.inject({ method: 'POST', url: '/webhooks/replicate/x' })).statusCode, 404)
  t.match(await ended(service.app, await postDream(service.app)), { status: 'completed' })
  t.equal(service.emulator.log.all[0]?.webhook, undefined)
})
