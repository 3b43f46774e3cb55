import t from 'tap'
import { collectSecrets, parseOtlpHeaders, readConfig } from '../../config.ts'
import { NodeProcess } from '../../harness/node-process.ts'
import { until } from '../../harness/until.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import { parseTraceparent } from '../../services/telemetry/trace-context.ts'
import { startReceiver } from '../support/callback-receiver.ts'
import { startOtlpReceiver, type ReceivedSpan } from '../support/otlp-receiver.ts'
import { createDatabase } from '../support/postgres.ts'
import { slow } from '../support/quick.ts'
import { runService } from '../support/running-service.ts'
import { ended, postDream, startEmulator, startService, testEnvironment } from '../support/service.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const clientSpan = '00f067aa0ba902b7'
const traceparent = `00-${traceId}-${clientSpan}-01`

t.test('a task is one trace, from the request of its client to the callback', async (t) => {
  const otlp = await startOtlpReceiver(t)
  const { app } = await startService(t, {
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: `${otlp.url}/`, OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20secret%20key', CALLBACK_SECRET: newWebhookSecret(), ALLOW_PRIVATE_CALLBACKS: 'true' }
  })
  const receiver = await startReceiver(t, 204)
  const query = { dream: 'A very private dream', style: 'Cursed', callback_url: receiver.url }
  const { task_id: taskId } = (await app.inject({ method: 'POST', url: '/generate-video', query, headers: { traceparent } })).json()
  await ended(app, taskId)
  await until(() => receiver.received.length === 1, 'the callback')
  await app.close()

  const { spans } = otlp
  t.same(new Set(spans.map((span) => span.traceId)), new Set([traceId]), 'polls without a traceparent are not traced')
  const [request] = spans.filter(({ kind }) => kind === 2)
  t.match(request, {
    name: 'POST /generate-video',
    parentSpanId: clientSpan,
    attributes: { 'http.request.method': 'POST', 'http.route': '/generate-video', 'http.response.status_code': 200, 'dreamreel.task_id': taskId }
  })
  const others = spans.filter((span) => span !== request)
  t.same(new Set(others.map(({ parentSpanId }) => parentSpanId)), new Set([request?.spanId]))
  const names = new Set(others.map(({ name }) => name))
  t.same(Array.from(names).sort(), ['callback', 'copy video', 'replicate account', 'replicate create', 'replicate get', 'task generating', 'task queued', 'task storing', 'task submitting'])
  const states = ['queued', 'submitting', 'generating', 'storing'].map((state) => find(others, `task ${state}`))
  for (const [index, { startTimeUnixNano: startedAt, endTimeUnixNano: endedAt }] of states.entries()) {
    t.ok(BigInt(startedAt) <= BigInt(endedAt))
    if (index > 0) t.equal(startedAt, states[index - 1]?.endTimeUnixNano, 'a state begins when the one before it ends')
  }
  t.equal(find(others, 'replicate create').attributes['dreamreel.outcome'], 'ok')
  t.ok(Number(find(others, 'copy video').attributes['dreamreel.bytes']) > 1_000)
  t.match(otlp.resources[0], { 'service.name': 'dreamreel' })
  t.equal(otlp.headers[0]?.['x-key'], 'a secret key')
  t.notMatch(JSON.stringify(spans), /private|test-token/)
})

t.test('what fails is marked', async (t) => {
  const otlp = await startOtlpReceiver(t)
  const { app, emulator } = await startService(t, { env: { OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url } })
  emulator.addFault({ call: 'create', kind: 'status', status: 503 })
  emulator.addOutcome({ status: 'failed', error: 'The input was flagged as sensitive. (E005)' })
  await ended(app, await postDream(app))
  await app.close()
  t.match(otlp.spans.find(({ name, status }) => name === 'replicate create' && status.code === 2), { status: { message: 'server_error' } })
  t.match(find(otlp.spans, 'task generating'), { status: { code: 2, message: 'content_policy' } })
  const request = find(otlp.spans, 'POST /generate-video')
  t.notOk(request.parentSpanId, 'without a traceparent the request begins a trace')
  t.equal(find(otlp.spans, 'task generating').traceId, request.traceId)
})

t.test('a client decides whether its request is traced', async (t) => {
  const otlp = await startOtlpReceiver(t)
  const { app } = await startService(t, { env: { OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url } })
  const post = (header: string) => app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' }, headers: { traceparent: header } })
  await ended(app, (await post(`00-${traceId}-${clientSpan}-00`)).json().task_id)
  await app.inject({ url: '/video-status/unknown', headers: { traceparent } })
  await app.inject({ url: '/livez', headers: { traceparent } })
  await app.close()
  t.same(otlp.spans.map(({ name }) => name), ['GET /video-status/:task_id'])
})

t.test('the trace goes on after a kill -9, in another process', slow, async (t) => {
  const otlp = await startOtlpReceiver(t)
  const { apiUrl, emulator } = await startEmulator(t, { generationMs: 600_000 })
  const env = { REPLICATE_API_URL: apiUrl, DATA_DIR: t.testdir(), OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url }
  const first = await runService(t, env)
  const url = `${await first.listeningUrl()}/generate-video?dream=A%20whale&style=Animated`
  const response = await fetch(url, { method: 'POST', headers: { traceparent } })
  t.equal(response.status, 200)
  await until(() => otlp.spans.some(({ name }) => name === 'task submitting'), 'the first spans')
  await first.kill()
  const before = otlp.spans.length
  const second = await runService(t, env)
  await second.listeningUrl()
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  await until(() => otlp.spans.some(({ name }) => name === 'task storing'), 'the last state')
  t.equal((await second.end('SIGTERM')).code, 0)
  const after = otlp.spans.slice(before)
  t.same(new Set(after.map((span) => span.traceId)), new Set([traceId]))
  for (const name of ['task generating', 'task storing', 'copy video', 'replicate get']) t.equal(find(after, name).parentSpanId, find(otlp.spans, 'POST /generate-video').spanId, name)
})

t.test('the trace goes on in another instance, which takes over the task of one that is killed', slow, async (t) => {
  // A receiver for each instance shows which one a span comes from.
  const [ofFirst, ofSecond] = [await startOtlpReceiver(t), await startOtlpReceiver(t)]
  const { apiUrl, emulator } = await startEmulator(t, { generationMs: 600_000 })
  const env = { REPLICATE_API_URL: apiUrl, DATABASE_URL: await createDatabase(t), DATA_DIR: t.testdir() }
  const first = await runService(t, { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: ofFirst.url })
  const response = await fetch(`${await first.listeningUrl()}/generate-video?dream=A%20whale&style=Animated`, { method: 'POST', headers: { traceparent } })
  t.equal(response.status, 200)
  await until(() => ofFirst.spans.some(({ name }) => name === 'task submitting'), 'the spans of the first instance')
  const second = await runService(t, { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: ofSecond.url })
  await second.listeningUrl()
  await first.kill()
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  await until(() => ofSecond.spans.some(({ name }) => name === 'task storing'), 'the last state', { timeoutMs: 30_000 })
  t.equal((await second.end('SIGTERM')).code, 0)
  const request = find(ofFirst.spans, 'POST /generate-video')
  t.equal(request.traceId, traceId)
  t.same(new Set(ofSecond.spans.map((span) => span.traceId)), new Set([traceId]))
  for (const name of ['task generating', 'task storing', 'copy video', 'replicate get']) t.equal(find(ofSecond.spans, name).parentSpanId, request.spanId, name)
  t.equal(emulator.predictions.length, 1)
})

t.test('a receiver that does not answer delays neither a task nor the stop', slow, async (t) => {
  const { apiUrl } = await startEmulator(t)
  const { url } = await startReceiver(t, 'silence')
  const service = await runService(t, { REPLICATE_API_URL: apiUrl, OTEL_EXPORTER_OTLP_ENDPOINT: new URL(url).origin })
  const origin = await service.listeningUrl()
  const { task_id: taskId } = await (await fetch(`${origin}/generate-video?dream=A%20whale&style=Animated`, { method: 'POST' })).json() as { task_id: string }
  await until(async () => (await (await fetch(`${origin}/video-status/${taskId}`)).json() as { status: string }).status === 'completed', 'the video')
  const { code, output } = await service.end('SIGTERM')
  t.equal(code, 0)
  t.match(output, 'the last spans to be sent')
})

t.test('without an endpoint no module of OpenTelemetry is loaded', slow, async (t) => {
  const { apiUrl } = await startEmulator(t)
  const hook = `import { registerHooks } from 'node:module'
    registerHooks({ load (url, context, next) { if (url.includes('opentelemetry')) console.log('LOADED ' + url); return next(url, context) } })`
  const start = async (env: Record<string, string>) => {
    const service = new NodeProcess({
      args: ['--import', `data:text/javascript,${encodeURIComponent(hook)}`, 'server.ts'],
      env: { ...testEnvironment, LOG_LEVEL: 'info', PORT: '0', REPLICATE_API_URL: apiUrl, ...env }
    })
    t.teardown(() => service.kill())
    await until(() => service.output().includes('Dreamreel is up') || service.hasEnded, 'the start')
    return service.output()
  }
  t.notMatch(await start({}), 'LOADED')
  t.match(await start({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }), 'LOADED')
})

t.test('a traceparent is believed only if it is valid', async (t) => {
  t.same(parseTraceparent(traceparent), { traceId, spanId: clientSpan, isSampled: true })
  t.same(parseTraceparent(`01-${traceId}-${clientSpan}-03-more`), { traceId, spanId: clientSpan, isSampled: true }, 'of a later version')
  for (const text of [
    undefined, '', 'x', ['a', 'b'], `ff-${traceId}-${clientSpan}-01`, `00-${'0'.repeat(32)}-${clientSpan}-01`, `00-${traceId}-${'0'.repeat(16)}-01`,
    `00-${traceId.toUpperCase()}-${clientSpan}-01`, `00-${traceId}-${clientSpan}`, `00-${traceId}-${clientSpan}-011`, `00-${traceId}-${clientSpan}-01-${'x'.repeat(500)}`
  ]) t.equal(parseTraceparent(text), undefined, String(text))
})

t.test('the headers for the receiver are parsed, and their values are secret', async (t) => {
  const given = { OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20a-long-secret,x-tenant=7' }
  t.same(parseOtlpHeaders(given), { authorization: 'Bearer a-long-secret', 'x-tenant': '7' })
  t.same(collectSecrets(given), ['Bearer a-long-secret'], 'a short value would be removed from the middle of words')
  t.throws(() => readConfig({ REPLICATE_API_TOKEN: 'x', OTEL_EXPORTER_OTLP_HEADERS: 'a-secret' }), { message: /OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs/ })
  t.throws(() => readConfig({ REPLICATE_API_TOKEN: 'x', OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' }), { message: /OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https address/ })
})

function find (spans: ReceivedSpan[], name: string): ReceivedSpan {
  const span = spans.find((span) => span.name === name)
  if (span === undefined) throw new Error(`No span ${name} among ${spans.map(({ name }) => name).join(', ')}`)
  return span
}

t.test('a receiver that refuses the spans is one warning', async (t) => {
  const otlp = await startOtlpReceiver(t)
  const { app, logLines } = await startService(t, { env: { OTEL_EXPORTER_OTLP_ENDPOINT: `${otlp.url}/unknown` } })
  await ended(app, await postDream(app))
  await app.close()
  t.equal(logLines.filter((line) => line.includes('"level":40') && line.includes('Traces cannot be sent')).length, 1)
  t.same(otlp.spans, [])
})
