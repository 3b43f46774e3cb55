import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { closedPort } from '../../harness/listen.ts'
import { buildEmulator } from '../../replicate-emulator/app.ts'
import { LocalCallBudget } from '../../services/rate-limit/call-budget.ts'
import { CallLimiter } from '../../services/rate-limit/call-limiter.ts'
import { ProviderClock } from '../../services/replicate/provider-clock.ts'
import { createReplicateClient, type CreateOptions, type ReplicateClient } from '../../services/replicate/replicate-client.ts'
import type { ReplicateTransportOptions } from '../../services/replicate/replicate-transport.ts'
import { matchList } from '../support/match-list.ts'
import { answer, startScriptedServer, type Script } from '../support/scripted-server.ts'

const request = { model: 'luma/ray', input: { prompt: 'A whale' }, cancelAfterSeconds: 840 }
const prediction = { id: 'abc123', status: 'starting', created_at: '2026-11-24T08:00:00.123456Z' }
const generous = { connectTimeoutMs: 20_000, createTimeoutMs: 20_000, readTimeoutMs: 20_000, maxResponseBytes: 65_536 }
const short = { createTimeoutMs: 200, readTimeoutMs: 200 }

const log = { debug () {}, info () {}, warn () {}, error () {} }
const unlimited = () => new CallLimiter({ budget: new LocalCallBudget({ perMinute: 1_000_000, now: () => performance.now() }), log })

function createClient (t: Test, apiUrl: string, options: Partial<ReplicateTransportOptions> = {}): ReplicateClient {
  const client = createReplicateClient({
    apiUrl, apiToken: 'test-token', creates: unlimited(), reads: unlimited(), clock: new ProviderClock({ now: Date.now, log }), ...generous, ...options
  })
  t.teardown(() => client.close())
  return client
}

async function scripted (t: Test, script: Script, options: Partial<ReplicateTransportOptions> = {}) {
  const server = await startScriptedServer(t, script)
  return { server, client: createClient(t, `${server.origin}/v1`, options) }
}

/** The outcome of one create, after the client has closed: nothing can be sent any more then. */
async function createOnce (t: Test, script: Script, options: Partial<ReplicateTransportOptions> = {}, createOptions?: CreateOptions) {
  const { server, client } = await scripted(t, script, options)
  const created = await client.create(request, createOptions)
  await client.close()
  const failure = 'failure' in created ? created.failure : undefined
  return { outcome: created.outcome, code: failure?.code, status: failure?.status, requests: server.received.length, failure }
}

t.test('a create sends the model, the input and the time that is left', async (t) => {
  const { server, client } = await scripted(t, (socket) => socket.write(answer(201, prediction)))
  await client.create({ ...request, webhook: 'https://dreams.example/hook' })
  const [sent] = server.received
  t.match(sent, {
    method: 'POST',
    path: '/v1/models/luma/ray/predictions',
    headers: {
      authorization: 'Bearer test-token',
      'content-type': 'application/json',
      'cancel-after': '840s',
      'user-agent': /^dreamreel\/\d+\.\d+\.\d+/
    }
  })
  t.same(JSON.parse(sent?.body ?? ''), {
    input: { prompt: 'A whale' }, webhook: 'https://dreams.example/hook', webhook_events_filter: ['start', 'completed']
  })
})

t.test('a create of a version names it in the body, and never asks for less than Replicate’s minimum', async (t) => {
  const { server, client } = await scripted(t, (socket) => socket.write(answer(201, prediction)))
  await client.create({ ...request, model: 'an-owner/dreams:0a1b', cancelAfterSeconds: 4.2 })
  matchList(t, server.received, [{ path: '/v1/predictions', headers: { 'cancel-after': '5s' } }])
  t.same(JSON.parse(server.received[0]?.body ?? ''), { version: 'an-owner/dreams:0a1b', input: { prompt: 'A whale' } })
})

t.test('any success with a prediction is a created prediction', async (t) => {
  for (const status of [200, 201, 202]) {
    const { client } = await scripted(t, (socket) => socket.write(answer(status, prediction)))
    t.match(await client.create(request), { outcome: 'created', prediction: { id: 'abc123', status: 'starting' } }, String(status))
  }
})

t.test('an answer to a create is certain or not by its status, and asked for once', async (t) => {
  const html = '<html><body>Sorry</body></html>'
  const cases = [
    { status: 400, outcome: 'refused', code: 'invalid_input' },
    { status: 401, outcome: 'deferred', code: 'provider_account' },
    { status: 402, outcome: 'deferred', code: 'provider_account' },
    { status: 403, outcome: 'deferred', code: 'provider_account' },
    { status: 403, body: html, outcome: 'deferred', code: 'provider_account' },
    { status: 404, outcome: 'refused', code: 'provider_account' },
    { status: 408, outcome: 'unknown', code: 'provider_unavailable' },
    { status: 409, outcome: 'refused', code: 'provider_error' },
    { status: 413, body: html, outcome: 'refused', code: 'invalid_input' },
    { status: 422, outcome: 'refused', code: 'invalid_input' },
    { status: 422, body: { detail: 'NSFW content detected' }, outcome: 'refused', code: 'content_policy' },
    { status: 429, outcome: 'deferred', code: 'provider_rate_limited' },
    { status: 500, body: html, outcome: 'unknown', code: 'provider_unavailable' },
    { status: 502, body: '', outcome: 'unknown', code: 'provider_unavailable' },
    { status: 200, body: html, outcome: 'unknown', code: 'provider_error' },
    { status: 201, body: '', outcome: 'unknown', code: 'provider_error' },
    { status: 201, body: '{"id":"abc123","status":', outcome: 'unknown', code: 'provider_error' },
    { status: 201, body: { ...prediction, id: '../account' }, outcome: 'unknown', code: 'provider_error' }
  ]
  for (const { status, body = { title: 'Oh no', detail: 'In words', status }, outcome, code } of cases) {
    const created = await createOnce(t, (socket) => socket.write(answer(status, body)))
    t.match(created, { outcome, code, status, requests: 1 }, `${status} ${JSON.stringify(body)}`)
  }
})

t.test('a create does not follow redirects', async (t) => {
  const elsewhere = await startScriptedServer(t, (socket) => socket.write(answer(201, prediction)))
  for (const status of [301, 302, 307, 308]) {
    const created = await createOnce(t, (socket) => socket.write(answer(status, '', { location: `${elsewhere.origin}/v1` })))
    t.match(created, { outcome: 'unknown', status, requests: 1 })
  }
  t.equal(elsewhere.received.length, 0)
})

t.test('a create that breaks after it was sent is unknown, and is not sent again', async (t) => {
  const truncated = (status: number) => answer(status, prediction).slice(0, -5)
  const scripts: Record<string, Script> = {
    'a reset': (socket) => socket.resetAndDestroy(),
    'a close without a word': (socket) => socket.end(),
    'a reset in the head': (socket) => socket.write('HTTP/1.1 201 Cre', () => socket.resetAndDestroy()),
    'a body cut off': (socket) => socket.end(truncated(201)),
    'a refusal cut off': (socket) => socket.end(truncated(422)),
    'no HTTP': (socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n')
  }
  for (const [name, script] of Object.entries(scripts)) {
    t.match(await createOnce(t, script), { outcome: 'unknown', code: 'provider_unavailable', status: null, requests: 1 }, name)
  }
})

t.test('a create whose answer does not come in time is unknown', async (t) => {
  const trickle: Script = (socket) => {
    socket.write('HTTP/1.1 201 Created\r\ncontent-length: 10000\r\n\r\n')
    const timer = setInterval(() => socket.write(' '), 10)
    socket.on('close', () => clearInterval(timer))
  }
  const scripts: Record<string, Script> = { 'no answer': () => undefined, 'a trickle': trickle }
  for (const [name, script] of Object.entries(scripts)) {
    t.match(await createOnce(t, script, short), { outcome: 'unknown', code: 'provider_unavailable', requests: 1 }, name)
  }
})

t.test('an answer without an end is cut off at the bound', async (t) => {
  const endless: Script = (socket) => {
    const pour = () => { while (!socket.destroyed && socket.write(' '.repeat(16_384))); }
    socket.write('HTTP/1.1 201 Created\r\n\r\n')
    socket.on('drain', pour)
    pour()
  }
  t.match(await createOnce(t, endless), { outcome: 'unknown', code: 'provider_unavailable', requests: 1 })
  const { client } = await scripted(t, endless)
  t.match(await client.get('abc123'), { outcome: 'unavailable' })
})

t.test('a create that fails before a byte was sent is deferred', async (t) => {
  const silent = await startScriptedServer(t, () => t.fail('it was sent'))
  const plain = await startScriptedServer(t, () => t.fail('it was sent'), (socket) => socket.end('no TLS here'))
  const closing = await startScriptedServer(t, () => t.fail('it was sent'), (socket) => socket.resetAndDestroy())
  const cases: Record<string, { apiUrl: string, options?: Partial<ReplicateTransportOptions> }> = {
    refused: { apiUrl: `http://127.0.0.1:${await closedPort()}/v1` },
    'no such name': { apiUrl: 'http://replicate.invalid/v1' },
    'no TLS': { apiUrl: `https://127.0.0.1:${plain.port}/v1` },
    'closed in the handshake': { apiUrl: `https://127.0.0.1:${closing.port}/v1` },
    'a connection that is never ready': { apiUrl: `https://127.0.0.1:${silent.port}/v1`, options: { connectTimeoutMs: 200 } },
    'no connection in time': { apiUrl: `https://127.0.0.1:${silent.port}/v1`, options: short }
  }
  for (const [name, { apiUrl, options }] of Object.entries(cases)) {
    let asked = false
    const shouldSend = () => { asked = true; return true }
    const created = await createClient(t, apiUrl, options).create(request, { shouldSend })
    t.match(created, { outcome: 'deferred', failure: { code: 'provider_unavailable', status: null } }, name)
    t.equal(asked, false, `${name}: nothing was about to be sent`)
  }
})

t.test('a create that must not be sent any more is withdrawn at the last moment', async (t) => {
  t.match(await createOnce(t, () => t.fail('it was sent'), {}, { shouldSend: () => false }), { outcome: 'withdrawn', requests: 0 })
  t.match(await createOnce(t, () => t.fail('it was sent'), {}, { signal: AbortSignal.abort() }), { outcome: 'withdrawn', requests: 0 })
})

t.test('a withdrawn create leaves the connection fit for the next call', async (t) => {
  const { server, client } = await scripted(t, (socket) => socket.write(answer(200, prediction)))
  await client.get('abc123')
  t.match(await client.create(request, { shouldSend: () => false }), { outcome: 'withdrawn' })
  t.match(await client.get('abc123'), { outcome: 'found' })
  t.same(server.received.map(({ method }) => method), ['GET', 'GET'])
})

t.test('an exception in shouldSend throws, and nothing is sent', async (t) => {
  const { server, client } = await scripted(t, () => t.fail('it was sent'))
  await t.rejects(client.create(request, { shouldSend: () => { throw new Error('a fault of ours') } }), { message: 'a fault of ours' })
  await client.close()
  t.equal(server.received.length, 0)
})

t.test('a create whose caller leaves after it was sent is unknown', async (t) => {
  const leaving = new AbortController()
  t.match(await createOnce(t, () => leaving.abort(), {}, { signal: leaving.signal }), { outcome: 'unknown', requests: 1 })
})

t.test('a connection that the server closed while idle is not used for a create', async (t) => {
  for (const close of ['end', 'resetAndDestroy'] as const) {
    const { server, client } = await scripted(t, (socket, { method }) => {
      socket.write(answer(200, prediction), () => { if (method === 'GET') socket[close]() })
    })
    await client.get('abc123')
    t.match(await client.create(request), { outcome: 'created' }, close)
    await client.close()
    t.same(server.received.map(({ method }) => method), ['GET', 'POST'], close)
  }
})

t.test('a kept connection that dies under a create makes it unknown, without a second one', async (t) => {
  for (const close of ['end', 'resetAndDestroy'] as const) {
    const { server, client } = await scripted(t, (socket, { method }) => {
      if (method === 'GET') socket.write(answer(200, prediction))
      else socket[close]()
    })
    await client.get('abc123')
    t.match(await client.create(request), { outcome: 'unknown' }, close)
    await client.close()
    t.same(server.received.map(({ method }) => method), ['GET', 'POST'], close)
    t.equal(server.received[0]?.headers.connection, 'keep-alive')
  }
})

t.test('many creates at once on dying connections arrive at most once each', async (t) => {
  const { server, client } = await scripted(t, (socket) => {
    if (server.received.length % 2 === 0) socket.resetAndDestroy()
    else socket.write(answer(201, prediction))
  })
  const prompts = Array.from({ length: 300 }, (_, index) => `dream ${index}`)
  const outcomes = await Promise.all(prompts.map((prompt) => client.create({ ...request, input: { prompt } })))
  await client.close()
  const arrived = server.received.map(({ body }) => JSON.parse(body).input.prompt)
  t.equal(new Set(arrived).size, arrived.length, 'none twice')
  t.same(new Set(outcomes.map(({ outcome }) => outcome)), new Set(['created', 'unknown']))
  t.equal(outcomes.filter(({ outcome }) => outcome === 'created').length, Math.ceil(arrived.length / 2))
})

t.test('a read of a prediction is found, missing or unavailable', async (t) => {
  const html = '<html>Bad gateway</html>'
  const cases = [
    { reply: answer(200, prediction), outcome: 'found' },
    { reply: answer(404, { detail: 'Not found', status: 404 }), outcome: 'missing', status: 404 },
    { reply: answer(200, { ...prediction, id: 'another' }), outcome: 'unavailable', status: 200 },
    { reply: answer(200, html), outcome: 'unavailable', status: 200 },
    { reply: answer(200, '{"id":'), outcome: 'unavailable', status: 200 },
    { reply: answer(401, { detail: 'Who?' }), outcome: 'unavailable', status: 401 },
    { reply: answer(402), outcome: 'unavailable', status: 402 },
    { reply: answer(403), outcome: 'unavailable', status: 403 },
    { reply: answer(422), outcome: 'unavailable', status: 422 },
    { reply: answer(429, '', { 'retry-after': '7' }), outcome: 'unavailable', status: 429, retryAfterMs: 7_000 },
    { reply: answer(502, html), outcome: 'unavailable', status: 502 },
    { reply: answer(302, '', { location: 'http://127.0.0.1:9/' }), outcome: 'unavailable', status: 302 }
  ]
  for (const { reply, outcome, ...failure } of cases) {
    const { server, client } = await scripted(t, (socket) => socket.write(reply))
    const expected = outcome === 'found' ? { outcome, prediction: { id: 'abc123' } } : { outcome, failure }
    t.match(await client.get('abc123'), expected, `get: ${reply}`)
    t.match(await client.cancel('abc123'), expected, `cancel: ${reply}`)
    t.same(server.received.map(({ method, path }) => `${method} ${path}`),
      ['GET /v1/predictions/abc123', 'POST /v1/predictions/abc123/cancel'])
  }
})

t.test('a read that breaks or hangs is unavailable', async (t) => {
  const scripts: Record<string, Script> = { hang: () => undefined, reset: (socket) => socket.resetAndDestroy() }
  for (const [name, script] of Object.entries(scripts)) {
    const { client } = await scripted(t, script, short)
    t.match(await client.get('abc123'), { outcome: 'unavailable', failure: { code: 'provider_unavailable', status: null } }, name)
    t.match(await client.cancel('abc123'), { outcome: 'unavailable' }, name)
    t.match(await client.list({}), { outcome: 'unavailable' }, name)
  }
})

t.test('an unusable response is not quoted: it can contain the dream of another client', async (t) => {
  const { client } = await scripted(t, (socket) => socket.write(answer(200, { ...prediction, id: 'another', input: { prompt: 'my secret' } })))
  const read = await client.get('abc123')
  t.notMatch(JSON.stringify(read), 'my secret')
})

t.test('an id that could lead to another path, and a model that is none, are faults of the caller’s', async (t) => {
  const { server, client } = await scripted(t, () => t.fail('it was sent'))
  await t.rejects(client.get('../account'), TypeError)
  await t.rejects(client.cancel(''), TypeError)
  await t.rejects(client.create({ ...request, model: 'luma' }), TypeError)
  t.equal(server.received.length, 0)
})

t.test('a list leaves out what is no prediction and says where it goes on', async (t) => {
  const { server, client } = await scripted(t, (socket) => {
    socket.write(answer(200, { next: `${server.origin}/v1/predictions?cursor=cD0y`, previous: null, results: [prediction, null, { id: 7 }] }))
  })
  const page = await client.list({ createdAfter: 0, createdBefore: 1_700_000_000_123 })
  t.match(page, { outcome: 'page', predictions: [{ id: 'abc123', createdAt: Date.parse('2026-11-24T08:00:00.123Z') }] })
  t.equal(page.outcome === 'page' && page.predictions.length, 1)
  const cursor = page.outcome === 'page' ? page.next : null
  await client.list({ cursor: cursor ?? '' })
  t.same(server.received.map(({ path }) => path), [
    '/v1/predictions?created_after=1970-01-01T00%3A00%3A00.000Z&created_before=2023-11-14T22%3A13%3A20.123Z',
    '/v1/predictions?cursor=cD0y'
  ])
})

t.test('a list does not go on to a place that is not our API', async (t) => {
  const elsewhere = await startScriptedServer(t, (socket) => socket.write(answer(200, { results: [] })))
  const { server, client } = await scripted(t, () => t.fail('it was sent'))
  const cursors = [
    `${elsewhere.origin}/v1/predictions?cursor=a`,
    `${server.origin}/v1/account`,
    `http://user@127.0.0.1:${server.port}/v1/predictions?cursor=a`,
    '/v1/predictions?cursor=a',
    ''
  ]
  for (const cursor of cursors) t.match(await client.list({ cursor }), { outcome: 'unavailable' }, cursor)
  t.equal(server.received.length + elsewhere.received.length, 0)
})

t.test('a page that cannot be read to its end is no page', async (t) => {
  for (const body of ['<html>', '{}', { results: {} }, { results: [], next: 7 }, 'null']) {
    const { client } = await scripted(t, (socket) => socket.write(answer(200, body)))
    t.match(await client.list({}), { outcome: 'unavailable', failure: { code: 'provider_error' } }, JSON.stringify(body))
  }
})

t.test('closing waits for the answer to a create under way, and takes no more', async (t) => {
  const arrived = Promise.withResolvers<Socket>()
  const { server, client } = await scripted(t, (socket) => arrived.resolve(socket))
  const creating = client.create(request)
  const socket = await arrived.promise
  const closing = client.close()
  t.match(await client.create(request), { outcome: 'deferred' })
  socket.write(answer(201, prediction))
  t.match(await creating, { outcome: 'created' })
  await closing
  await client.close()
  t.equal(server.received.length, 1)
})

t.test('closing does not wait for ever', async (t) => {
  const { server, client } = await scripted(t, () => undefined, short)
  const creating = client.create(request)
  await client.close()
  t.match(await creating, { outcome: 'unknown' })
  const [socket] = server.sockets
  if (socket !== undefined) await once(socket, 'close')
  t.equal(server.sockets.size, 0)
})

t.test('hundreds of calls share a signal and leave nothing on it', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const { client } = await scripted(t, (socket) => socket.write(answer(200, prediction)))
  const { signal } = new AbortController()
  await Promise.all(Array.from({ length: 300 }, () => client.get('abc123', { signal })))
  await new Promise((resolve) => setImmediate(resolve))
  t.same(warnings, [])
})

t.test('against the emulator a prediction is created, read, listed and cancelled', async (t) => {
  const emulator = buildEmulator({ token: 'test-token' })
  t.teardown(() => emulator.close())
  const client = createClient(t, `${await emulator.listen({ host: '127.0.0.1', port: 0 })}/v1`)
  const created = await client.create({ ...request, input: { prompt: 'A whale', aspect_ratio: '9:16' } })
  if (created.outcome !== 'created') return t.fail(JSON.stringify(created))
  const { id } = created.prediction
  t.match(await client.get(id), { outcome: 'found', prediction: { id, input: { prompt: 'A whale' }, source: 'api' } })
  t.match(await client.list({ createdAfter: Date.now() - 60_000 }), { outcome: 'page', predictions: [{ id }], next: null })
  t.match(await client.cancel(id), { outcome: 'found', prediction: { id, status: 'canceled' } })
  t.match(await client.get('nosuchprediction'), { outcome: 'missing' })
  t.match(await client.create({ ...request, input: { prompt: 'A whale', seed: 1 } }), { outcome: 'refused', failure: { code: 'invalid_input' } })
})

t.test('against the emulator a create that is lost after it had its effect is unknown, and there is one prediction', async (t) => {
  const emulator = buildEmulator()
  t.teardown(() => emulator.close())
  const client = createClient(t, `${await emulator.listen({ host: '127.0.0.1', port: 0 })}/v1`)
  emulator.emulator.addFault({ call: 'create', kind: 'reset_after' })
  t.match(await client.create(request), { outcome: 'unknown' })
  t.equal(emulator.emulator.predictions.length, 1)
  t.equal(emulator.emulator.calls.create, 1)
})
