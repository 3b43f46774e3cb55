import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { readConfig } from '../../config.ts'
import { listen } from '../../harness/listen.ts'
import { scrape } from '../../harness/scrape.ts'
import { until } from '../../harness/until.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import * as channels from '../../services/telemetry/channels.ts'
import { startReceiver } from '../support/callback-receiver.ts'
import { metricsUrl, promtool, scrapeUntil, withPromtool } from '../support/metrics.ts'
import { slow } from '../support/quick.ts'
import { openRaw, readAnswers } from '../support/raw-exchange.ts'
import { runService } from '../support/running-service.ts'
import { ended, postDream, startEmulator, startService } from '../support/service.ts'

const withMetrics = { METRICS_PORT: '0' }

t.test('dreams are counted from the request to the callback', async (t) => {
  const callbackSecret = newWebhookSecret()
  const { app, emulator } = await startService(t, { env: { ...withMetrics, CALLBACK_SECRET: callbackSecret, ALLOW_PRIVATE_CALLBACKS: 'true' } })
  const before = await scrape(metricsUrl(app))
  t.equal(before.value('dreamreel_tasks_created_total'), 0)
  t.equal(before.value('dreamreel_tasks_ended_total', { style: 'Cursed', result: 'content_policy' }), 0, 'counters begin at 0')

  const receiver = await startReceiver(t, 204)
  const query = { dream: 'A whale', style: 'Animated', callback_url: receiver.url }
  const completed = (await app.inject({ method: 'POST', url: '/generate-video', query })).json().task_id
  t.match(await ended(app, completed), { status: 'completed' })
  emulator.addOutcome({ status: 'failed', error: 'The input was flagged as sensitive. (E005)' })
  t.match(await ended(app, await postDream(app, 'A storm', 'Cursed')), { error_code: 'content_policy' })

  const after = await scrapeUntil(app, (scraped) => scraped.value('dreamreel_callback_attempts_total', { outcome: 'delivered' }) === 1, 'the callback to be counted')
  t.equal(after.value('dreamreel_tasks_created_total', { style: 'Animated' }), 1)
  t.equal(after.value('dreamreel_tasks_created_total', { style: 'Cursed' }), 1)
  t.equal(after.value('dreamreel_tasks_ended_total', { style: 'Animated', result: 'completed' }), 1)
  t.equal(after.value('dreamreel_tasks_ended_total', { style: 'Cursed', result: 'content_policy' }), 1)
  t.equal(after.value('dreamreel_tasks_ended_total'), 2)
  t.equal(after.value('dreamreel_task_duration_seconds_count', { status: 'completed' }), 1)
  for (const [state, count] of Object.entries({ queued: 2, submitting: 2, generating: 2, storing: 1 })) {
    t.equal(after.value('dreamreel_task_state_duration_seconds_count', { state }), count, state)
  }
  t.ok(after.value('dreamreel_task_state_duration_seconds_sum', { state: 'generating' }) > 0.05, 'in seconds')
  t.equal(after.value('dreamreel_task_transitions_total', { transition: 'attach_prediction' }), 2)
  t.equal(after.value('dreamreel_predict_duration_seconds_count', { style: 'Animated' }), 1)
  t.equal(after.value('dreamreel_predict_duration_seconds_sum', { style: 'Animated' }), emulator.predictions[0]?.metrics?.predict_time)
  t.equal(after.value('dreamreel_replicate_calls_total', { call: 'create', outcome: 'ok' }), 2)
  t.equal(after.value('dreamreel_replicate_calls_total', { call: 'get', outcome: 'ok' }), emulator.calls.get)
  t.equal(after.value('dreamreel_replicate_call_duration_seconds_count', { call: 'create' }), 2)
  t.equal(after.value('dreamreel_video_copies_total', { outcome: 'stored' }), 1)
  t.equal(after.value('dreamreel_video_copied_bytes_total'), (await app.taskStore.get(completed))?.videoFile?.bytes)
  t.equal(after.value('dreamreel_http_requests_total', { method: 'POST', route: '/generate-video', status: '200' }), 2)
  t.equal(after.value('dreamreel_http_request_duration_seconds_count', { method: 'POST', route: '/generate-video' }), 2)
  t.equal(after.value('dreamreel_oldest_open_task_age_seconds'), 0)
  t.equal(after.value('dreamreel_store_up'), 1)
  t.ok(after.value('process_resident_memory_bytes') > 10_000_000)
})

t.test('open tasks are counted by state and style, and the oldest has an age', async (t) => {
  const { app } = await startService(t, { env: withMetrics, emulator: { generationMs: 600_000 } })
  await postDream(app, 'A whale', 'Realistic')
  await postDream(app, 'A storm', 'Cursed')
  const scraped = await scrapeUntil(app, (scraped) => scraped.value('dreamreel_open_tasks', { state: 'generating' }) === 2, 'both to be generating')
  for (const [style, count] of Object.entries({ Realistic: 1, Animated: 0, Cursed: 1 })) t.equal(scraped.value('dreamreel_open_tasks', { style }), count)
  t.equal(scraped.value('dreamreel_jobs_in_flight'), 2)
  await scrapeUntil(app, (scraped) => scraped.value('dreamreel_oldest_open_task_age_seconds') > 0.05, 'the age to grow')
})

t.test('calls that fail, pauses and the circuit breaker can be seen', async (t) => {
  const { app, emulator } = await startService(t, { env: withMetrics })
  emulator.addFault({ call: 'create', kind: 'status', status: 429, retry_after: 600 })
  await postDream(app)
  const paused = await scrapeUntil(app, (scraped) => scraped.value('dreamreel_replicate_limiter_paused', { limiter: 'create' }) === 1, 'the pause')
  t.equal(paused.value('dreamreel_replicate_calls_total', { call: 'create', outcome: 'rate_limited' }), 1)
  t.equal(paused.value('dreamreel_replicate_limiter_paused', { limiter: 'read' }), 0)
  t.equal(paused.value('dreamreel_submission_breaker_state', { state: 'closed' }), 1)
  await scrapeUntil(app, (scraped) => scraped.value('dreamreel_replicate_limiter_waiting_calls', { limiter: 'create' }) === 1, 'the task to wait')

  const other = await startService(t, { env: withMetrics })
  other.emulator.addFault({ call: 'create', kind: 'status', status: 402 })
  other.emulator.addFault({ call: 'get', kind: 'empty' })
  await postDream(other.app)
  const open = await scrapeUntil(other.app, (scraped) => scraped.value('dreamreel_submission_breaker_state', { state: 'open' }) === 1, 'the breaker to open')
  t.equal(open.value('dreamreel_submission_breaker_state'), 1, 'one state at a time')
  const later = await scrapeUntil(other.app, (scraped) => scraped.value('dreamreel_tasks_ended_total', { result: 'completed' }) === 1, 'the task to end')
  t.equal(later.value('dreamreel_replicate_calls_total', { call: 'create', outcome: 'refused' }), 1)
  t.equal(later.value('dreamreel_replicate_unusable_answers_total', { call: 'get' }), 1)
  t.equal(later.value('dreamreel_submission_breaker_state', { state: 'closed' }), 1)
})

t.test('a sweep over the list is counted', async (t) => {
  const { app } = await startService(t, { env: { ...withMetrics, REPLICATE_SWEEP_THRESHOLD: '1' } })
  await ended(app, await postDream(app))
  const scraped = await scrapeUntil(app, (scraped) => scraped.value('dreamreel_prediction_sweeps_total', { outcome: 'complete' }) > 0, 'the sweep')
  t.ok(scraped.value('dreamreel_prediction_sweep_duration_seconds_count') > 0)
})

t.test('no label contains an address, a dream, a task id or a secret, and unknown addresses share one label', async (t) => {
  const { app } = await startService(t, { env: { ...withMetrics, REPLICATE_API_TOKEN: 'a-secret-token' } })
  const taskId = await postDream(app, 'A very private dream')
  const { video_url: videoUrl } = await ended(app, taskId)
  const videoPath = new URL(String(videoUrl)).pathname
  t.equal((await app.inject(videoPath)).statusCode, 200)
  for (const path of ['/one', '/two?key=drm_abc', '/%', '/video-status/a-guess', '/wp-admin/%zz']) await app.inject(path)
  await app.inject({ method: 'DELETE', url: '/generate-video' })
  await app.inject({ method: 'PROPFIND', url: '/' })
  const scraped = await scrapeUntil(app, (scraped) => scraped.samples('dreamreel_http_requests_total', { method: 'other' }).length > 0, 'the last request')
  for (const part of [taskId, 'private', 'a-secret-token', videoPath, 'drm_abc', '/one', 'wp-admin', 'a-guess']) t.notOk(scraped.text.includes(part), part)
  const routes = scraped.samples('dreamreel_http_requests_total').map(({ labels }) => labels.route)
  t.same(Array.from(new Set(routes)).sort(), ['/generate-video', '/video-status/:task_id', '/videos/:name', 'none'].sort())
  t.equal(scraped.value('dreamreel_http_requests_total', { route: '/video-status/:task_id', status: '404' }), 1)
})

t.test('requests that Node refuses, and clients that leave, are counted', async (t) => {
  const { app } = await startService(t, { env: withMetrics, emulator: { generationMs: 600_000 } })
  const port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
  const raw = await openRaw(t, port)
  raw.write('nonsense\r\n\r\n')
  t.match(await readAnswers(raw), [{ status: 400 }])
  const taskId = await postDream(app)
  const waiting = connect(port, '127.0.0.1')
  await once(waiting, 'connect')
  waiting.write(`GET /video-status/${taskId} HTTP/1.1\r\nhost: localhost\r\nprefer: wait=60\r\n\r\n`)
  await until(async () => (await app.inject(`/video-status/${taskId}`)).json().status === 'processing', 'the prediction')
  waiting.destroy()
  const scraped = await scrapeUntil(app, (scraped) => scraped.samples('dreamreel_http_requests_total', { status: 'aborted' }).length > 0, 'the client that left')
  t.equal(scraped.value('dreamreel_http_requests_total', { route: 'none', status: '400' }), 1)
  t.equal(scraped.value('dreamreel_http_requests_total', { route: '/video-status/:task_id', status: 'aborted' }), 1)
})

t.test('promtool finds no fault in a scrape', withPromtool, async (t) => {
  const { app } = await startService(t, { env: withMetrics })
  await ended(app, await postDream(app))
  const { text } = await scrape(metricsUrl(app))
  t.equal(await promtool(['check', 'metrics'], text), '')
})

t.test('without METRICS_PORT no channel has a reader, and after a close neither', async (t) => {
  const all = Object.values(channels).filter((value) => typeof value === 'object' && 'hasSubscribers' in value)
  t.equal(all.length, 11)
  const read = () => all.filter(({ hasSubscribers }) => hasSubscribers).length
  const { app: silent } = await startService(t)
  t.equal(silent.metricsAddress, undefined)
  t.equal(read(), 0)
  const { app } = await startService(t, { env: withMetrics })
  t.equal(read(), all.length)
  const url = metricsUrl(app)
  t.equal((await fetch(`${url}/metrics`)).status, 200)
  await app.close()
  t.equal(read(), 0)
  await t.rejects(fetch(`${url}/metrics`), 'the port is closed')
})

t.test('the port serves the metrics and nothing else', async (t) => {
  const { app } = await startService(t, { env: withMetrics })
  const url = metricsUrl(app)
  const response = await fetch(`${url}/metrics?x=y`)
  t.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  t.equal(response.headers.get('cache-control'), 'no-store')
  t.equal((await fetch(`${url}/metrics`, { method: 'HEAD' })).status, 200)
  t.equal((await fetch(`${url}/metrics`, { method: 'POST' })).status, 405)
  t.equal((await fetch(`${url}/`)).status, 404)
  t.equal((await app.inject('/metrics')).statusCode, 404, 'the port of the service does not serve them')
})

t.test('a port that another program uses ends the start with a message', slow, async (t) => {
  const { apiUrl } = await startEmulator(t)
  const other = createServer()
  const port = await listen(other)
  t.teardown(() => other.close())
  const service = await runService(t, { REPLICATE_API_URL: apiUrl, METRICS_PORT: String(port) })
  const { code, output } = await service.end()
  t.equal(code, 1)
  t.match(output, new RegExp(`^METRICS_PORT cannot be used: another program uses port ${port} of 127.0.0.1$`, 'm'))
})

t.test('the line of the start names the address of the metrics', slow, async (t) => {
  const { apiUrl } = await startEmulator(t)
  const service = await runService(t, { REPLICATE_API_URL: apiUrl, ...withMetrics })
  const [, url = ''] = await until(() => /"metrics":"(http:[^"]+)\/metrics"/.exec(service.output()) ?? undefined, 'the line of the start')
  t.equal((await scrape(url)).value('dreamreel_build_info', { node: process.version }), 1)
  t.equal((await service.end('SIGTERM')).code, 0)
})

t.test('METRICS_PORT must not be the port of the service', async (t) => {
  t.throws(() => readConfig({ REPLICATE_API_TOKEN: 'x', METRICS_PORT: '3000' }), { message: /METRICS_PORT must be another port than PORT/ })
  t.match(readConfig({ REPLICATE_API_TOKEN: 'x', METRICS_PORT: '0', PORT: '0' }), { METRICS_PORT: 0 })
})
