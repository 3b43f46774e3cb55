import type { FastifyInstance } from 'fastify'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { keyList, newTestKey, type TestKey } from '../support/api-keys.ts'
import { listenRaw, readAnswer } from '../support/raw-exchange.ts'
import { startService } from '../support/service.ts'

type Headers = Record<string, string>

const studio = newTestKey('studio')
const app2 = newTestKey('app')
const admin = newTestKey('admin', { admin: true })
const endless = { generationMs: 600_000 }

/** A service with the keys above. @param others further entries */
const start = (t: Test, { others = [], emulator = {}, env = {} }: { others?: object[], emulator?: object, env?: Record<string, string> } = {}) => (
  startService(t, { emulator, env: { API_KEYS: keyList([studio, app2, admin], ...others), ...env } })
)

async function create (app: FastifyInstance, headers: Headers = {}, query: Record<string, string> = {}) {
  return app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed', ...query }, headers })
}

async function createTask (app: FastifyInstance, headers: Headers = {}): Promise<string> {
  const response = await create(app, headers)
  if (response.statusCode !== 200) throw new Error(response.body)
  return response.json().task_id
}

const untilEnded = (app: FastifyInstance, taskId: string) => until(async () => {
  const task = (await app.inject({ url: `/video-status/${taskId}`, headers: admin.headers })).json()
  return task.status === 'completed' || task.status === 'failed'
}, 'the task to end')

const listIds = async (app: FastifyInstance, headers: Headers, query: Record<string, string> = {}): Promise<string[]> => (
  (await app.inject({ url: '/video-status', headers, query })).json().items.map(({ task_id: id }: TaskView) => id)
)

t.test('every operation but health checks and videos needs a key, and openapi.json says so', async (t) => {
  const { app } = await start(t)
  const document = JSON.parse(await readFile(new URL('../../openapi.json', import.meta.url), 'utf8'))
  t.match(document.components.securitySchemes, { apiKey: { type: 'http', scheme: 'bearer' } })
  t.same(document.security, [{ apiKey: [] }, {}])
  const open: string[] = []
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, { operationId, security }] of Object.entries(operations as Record<string, { operationId: string, security?: unknown[] }>)) {
      const url = path.replace(/\{\w+\}/g, 'unknown')
      for (const headers of [{}, { authorization: 'Bearer no-key' }]) {
        const response = await app.inject({ method: method.toUpperCase() as 'GET', url, headers })
        t.equal(response.statusCode === 401, security === undefined, operationId)
        if (security !== undefined) continue
        t.match(response.json(), { status: 401, code: 'authorization' in headers ? 'api_key_invalid' : 'api_key_missing' })
        t.match(response.headers, { 'www-authenticate': /^Bearer realm="Dreamreel"/, 'content-type': 'application/problem+json', 'cache-control': 'no-store' })
      }
      if (security !== undefined) open.push(operationId)
    }
  }
  t.same(open.sort(), ['getLiveness', 'getReadiness', 'getVideo'])
  for (const url of ['/openapi.json', '/docs/', '/docs/json', '/docs/static/swagger-ui.css']) t.equal((await app.inject(url)).statusCode, 200, url)
  t.match((await app.inject('/unknown')).json(), { code: 'not_found' })
  t.match((await app.inject({ method: 'PUT', url: '/generate-video' })).json(), { code: 'method_not_allowed' })
  t.equal((await create(app, studio.headers)).statusCode, 200)
})

t.test('a request without a valid key is refused before its body has come', async (t) => {
  const { app } = await start(t)
  const open = await listenRaw(t, app)
  const socket = await open()
  socket.write('POST /generate-video?dream=x&style=Cursed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nAuthorization: Bearer x\r\n\r\n{')
  t.equal((await readAnswer(socket)).status, 401)
})

t.test('an Authorization header that is not one valid key is 401, whatever it contains', async (t) => {
  const { app } = await start(t, { others: [{ name: 'anonymous' }] })
  const { key } = studio
  const invalid = ['', ' ', 'Bearer', 'Bearer ', key, `Basic ${key}`, `Bearer${key}`, `Bearer ${key} x`, `Bearer ${key}, Bearer ${key}`, `Bearer "${key}"`, `Bearer ${key}=`,
    `Bearer ${key.toUpperCase()}`, `Bearer ${key.slice(0, -1)}`, `Bearer ${newTestKey('x').key}`, `Bearer drm_${'é'.repeat(43)}`, 'Bearer ключ', `Token ${key}`,
    `Bearer drm_${'a'.repeat(60_000)}`, `Bearer ${' '.repeat(60_000)}`, 'Bearer __proto__', 'Bearer null', 'Bearer anonymous', `Bearer ${JSON.stringify(admin.entry)}`]
  for (const authorization of invalid) {
    const response = await create(app, { authorization })
    t.match(response.json(), { status: 401, code: 'api_key_invalid' }, authorization.slice(0, 60))
    t.match(response.headers['www-authenticate'], /error="invalid_token"/)
  }
  for (const authorization of [`bearer ${key}`, `BEARER   ${key}`, `Bearer ${key}  `]) t.equal((await create(app, { authorization })).statusCode, 200, authorization)
  const open = await listenRaw(t, app)
  const send = async (...lines: string[]) => {
    const socket = await open()
    socket.write(['POST /generate-video?dream=x&style=Cursed HTTP/1.1', 'Host: localhost', ...lines, '', ''].join('\r\n'))
    return (await readAnswer(socket)).status
  }
  t.equal(await send(`Authorization: Bearer ${key}`), 200)
  t.equal(await send(`Authorization: Bearer ${key}`, `authorization: Bearer ${key}`), 401, 'twice')
  t.equal(await send('Authorization: Basic eA==', `Authorization: Bearer ${key}`), 401)
  t.equal(await send('Authorization:'), 401, 'an empty one')
  t.equal(await send('Authorization: Bearer \xff\xfe'), 401)
})

t.test('a key in the query is no key, and neither keys nor hashes reach the log', async (t) => {
  const { app, logLines } = await start(t)
  for (const name of ['key', 'api_key', 'access_token', 'authorization']) {
    t.equal((await create(app, {}, { [name]: studio.key })).statusCode, 401, name)
  }
  const taskId = await createTask(app, studio.headers)
  await app.inject({ url: `/video-status/${studio.key}`, headers: studio.headers })
  await app.inject({ url: `/${studio.key}`, headers: studio.headers })
  await app.inject({ url: '/video-status', headers: { authorization: `Bearer ${studio.key} ${studio.key}` } })
  app.log.error({ err: new Error(`Bearer ${studio.key}`) }, studio.key)
  await untilEnded(app, taskId)
  const log = logLines.join('')
  t.notMatch(log, studio.key)
  t.notMatch(log, new RegExp(JSON.stringify(studio.entry).match(/[0-9a-f]{64}/)?.[0] ?? 'x'))
  t.match(logLines.map((line) => JSON.parse(line)).find(({ task_id: id, route }) => id === taskId && route === '/generate-video'), { key: 'studio', status: 200 })
})

t.test('a task exists for its own key and for an admin only', async (t) => {
  const { app, emulator } = await start(t, { emulator: endless })
  const taskId = await createTask(app, studio.headers)
  const requests = [
    { url: `/video-status/${taskId}` }, { method: 'HEAD', url: `/video-status/${taskId}` }, { url: `/video-status/${taskId.toUpperCase()}` },
    { url: `/video-status/${taskId}`, headers: { prefer: 'wait=30' } }, { url: `/video-status/${taskId}`, headers: { 'if-none-match': '"1"' } },
    { url: `/video-status/${taskId}/events` }, { method: 'POST', url: `/video-status/${taskId}/cancel` }, { method: 'DELETE', url: `/video-status/${taskId}` }
  ] as const
  for (const { headers = {}, ...request } of requests.map((request) => ({ headers: {}, ...request }))) {
    const response = await app.inject({ ...request, headers: { ...headers, ...app2.headers } })
    t.equal(response.statusCode, 404, request.url)
    const unknown = await app.inject({ ...request, url: request.url.replace(/[0-9a-f-]{36}/i, '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21'), headers: { ...headers, ...app2.headers } })
    const withoutId = (text: string) => text.replace(/"request_id":"[^"]*"/, '')
    t.equal(withoutId(response.body), withoutId(unknown.body), 'as if it did not exist')
  }
  t.equal(emulator.predictions.filter(({ status }) => status === 'canceled').length, 0)
  for (const { headers } of [studio, admin]) t.match((await app.inject({ url: `/video-status/${taskId}`, headers })).json(), { task_id: taskId })
  t.match((await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel`, headers: studio.headers })).json(), { error_code: 'canceled' })
  t.equal((await app.inject({ method: 'DELETE', url: `/video-status/${taskId}`, headers: admin.headers })).statusCode, 204)
  t.equal((await app.inject({ url: `/video-status/${taskId}`, headers: studio.headers })).statusCode, 404)
})

t.test('a key lists its own tasks, an admin all, also where other machines reach the service', async (t) => {
  const { app } = await start(t, { env: { HOST: '0.0.0.0' } })
  const [one, two, three] = [await createTask(app, studio.headers), await createTask(app, app2.headers), await createTask(app, studio.headers)]
  t.same(await listIds(app, studio.headers), [three, one])
  t.same(await listIds(app, app2.headers), [two])
  t.same(await listIds(app, admin.headers), [three, two, one])
  t.same(await listIds(app, admin.headers, { limit: '2' }), [three, two])
  const page = (await app.inject({ url: '/video-status?limit=1', headers: studio.headers })).json()
  t.same(await listIds(app, app2.headers, { cursor: page.next_cursor }), [two], 'the cursor of another key shows nothing more')
  await untilEnded(app, one)
  t.equal((await app.inject({ method: 'DELETE', url: `/video-status/${one}`, headers: studio.headers })).statusCode, 204)
})

t.test('an idempotency key belongs to an API key', async (t) => {
  const { app } = await start(t, { others: [{ name: 'anonymous' }] })
  const send = async (headers: Headers, query = {}) => (await create(app, { 'idempotency-key': 'the-same', ...headers }, query)).json()
  const [first, second, third] = [await send(studio.headers), await send(app2.headers, { dream: 'Another whale' }), await send({})]
  t.equal(new Set([first.task_id, second.task_id, third.task_id]).size, 3)
  t.same([await send(studio.headers), await send(app2.headers, { dream: 'Another whale' }), await send({})], [first, second, third])
  t.match(await send(app2.headers), { code: 'idempotency_key_reused' })
})

t.test('two entries with one name are the same caller', async (t) => {
  const next = newTestKey('studio')
  const { app } = await start(t, { others: [next.entry] })
  const taskId = await createTask(app, studio.headers)
  t.match((await app.inject({ url: `/video-status/${taskId}`, headers: next.headers })).json(), { task_id: taskId })
  const send = async (headers: Headers) => (await create(app, { 'idempotency-key': 'k', ...headers })).json()
  t.same(await send(studio.headers), await send(next.headers))
})

t.test('a key is valid until it expires', async (t) => {
  const over = newTestKey('over', { expires: '2026-01-01T00:00:00Z' })
  const soon = newTestKey('soon', { expires: new Date(Date.now() + 2_000).toISOString() })
  const { app } = await start(t, { others: [over.entry, soon.entry, { name: 'anonymous', expires: '2026-01-01T00:00:00Z' }] })
  t.match((await create(app, over.headers)).json(), { status: 401, code: 'api_key_invalid', detail: 'The API key has expired' })
  t.match((await create(app)).json(), { status: 401, code: 'api_key_missing' })
  await until(async () => (await app.inject({ url: '/video-status', headers: soon.headers })).statusCode === 401, 'the key to expire')
})

t.test('with an entry for requests without a key, what they make is read by its id, and listed and deleted by an admin only', async (t) => {
  const { app } = await start(t, { others: [{ name: 'anonymous' }], env: { HOST: '0.0.0.0' } })
  const taskId = await createTask(app)
  const own = await createTask(app, studio.headers)
  await untilEnded(app, taskId)
  for (const headers of [{}, studio.headers, admin.headers]) t.equal((await app.inject({ url: `/video-status/${taskId}`, headers })).statusCode, 200)
  t.equal((await app.inject(`/video-status/${taskId}/events`)).statusCode, 200)
  t.equal((await app.inject(`/video-status/${own}`)).statusCode, 404, 'the task of a key')
  const task = (await app.inject(`/video-status/${taskId}`)).json()
  t.equal((await app.inject(new URL(task.video_url).pathname)).statusCode, 200)
  const remove = async (headers: Headers = {}) => (await app.inject({ method: 'DELETE', url: `/video-status/${taskId}`, headers })).json()
  t.match((await app.inject('/video-status')).json(), { status: 401, code: 'api_key_missing' })
  t.match(await remove(), { status: 401, code: 'api_key_missing' })
  t.match(await remove(studio.headers), { status: 403, code: 'admin_required' })
  t.same(await listIds(app, studio.headers), [own])
  t.same(await listIds(app, admin.headers), [own, taskId])
  t.equal((await app.inject({ method: 'DELETE', url: `/video-status/${taskId}`, headers: admin.headers })).statusCode, 204)
})

t.test('pages of other sites cannot send requests without a key; requests with a key need no check of their origin', async (t) => {
  const foreign = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'empty' }
  const { app } = await start(t, { others: [{ name: 'anonymous' }] })
  t.match((await create(app, foreign)).json(), { status: 403, code: 'cross_site_request' })
  t.match((await create(app, { host: 'rebound.invalid' })).json(), { status: 403, code: 'forbidden_host' })
  t.equal((await create(app, { ...foreign, host: 'any.invalid', ...studio.headers })).statusCode, 200)
  const { app: keyed } = await start(t)
  t.match((await create(keyed, foreign)).json(), { status: 401, code: 'api_key_missing' })
  t.equal((await create(keyed, { host: 'any.invalid', ...studio.headers })).statusCode, 200)
  t.equal((await keyed.inject({ url: '/docs/', headers: { host: 'any.invalid' } })).statusCode, 200)
})

t.test('a service without keys ignores Authorization, and shows a task of a key on loopback only', async (t) => {
  const { app } = await startService(t)
  t.equal((await create(app, { authorization: 'Basic eA==' })).statusCode, 200)
  const dataDir = t.testdir()
  const { app: withKeys } = await start(t, { env: { DATA_DIR: dataDir } })
  const taskId = await createTask(withKeys, studio.headers)
  await withKeys.close()
  for (const [HOST, status] of [['127.0.0.1', 200], ['0.0.0.0', 404]] as const) {
    const { app } = await startService(t, { env: { DATA_DIR: dataDir, HOST, ALLOW_ANONYMOUS: 'true' } })
    t.equal((await app.inject(`/video-status/${taskId}`)).statusCode, status, HOST)
    await app.close()
  }
})

/** A service that reads its keys from a file which the returned function replaces, as a deployment does. */
async function startWithFile (t: Test, ...keys: TestKey[]) {
  const path = join(t.testdir(), 'keys.json')
  const write = async (...keys: TestKey[]) => {
    await writeFile(`${path}.new`, keyList(keys))
    await rename(`${path}.new`, path)
  }
  await write(...keys)
  return { ...await startService(t, { emulator: endless, env: { API_KEYS_FILE: path } }), write, path }
}

t.test('a key is added and removed without a restart, and requests that wait with a removed key end', async (t) => {
  const { app, write, path, logLines } = await startWithFile(t, studio, admin)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const taskId = await createTask(app, studio.headers)
  t.equal((await create(app, app2.headers)).statusCode, 401)
  const waiting = fetch(`${url}/video-status/${taskId}`, { headers: { prefer: 'wait=60', ...studio.headers } })
  const stream = await fetch(`${url}/video-status/${taskId}/events`, { headers: studio.headers })
  const text = stream.text()
  const adminWaits = fetch(`${url}/video-status/${taskId}`, { headers: { prefer: 'wait=60', ...admin.headers } })
  await until(() => app.taskSubscriptions.size === 1, 'the requests to wait')
  await write(app2, admin)
  await until(async () => (await create(app, app2.headers)).statusCode === 200, 'the new key')
  t.match(await (await waiting).json(), { status: 401, code: 'api_key_invalid' })
  t.match(await text, /event: status\nid: \d/)
  t.equal((await create(app, studio.headers)).statusCode, 401)
  await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel`, headers: admin.headers })
  t.match(await (await adminWaits).json(), { task_id: taskId, error_code: 'canceled' }, 'a key that stays goes on waiting')

  await writeFile(path, '{')
  await until(() => logLines.some((line) => line.includes('API_KEYS_FILE cannot be used')), 'the error')
  t.equal((await create(app, app2.headers)).statusCode, 200)
  await write()
  await until(async () => (await create(app, app2.headers)).statusCode === 401, 'a list without keys, which admits no request')
})

t.test('a key that loses its right to see all tasks sees no more of them in a stream', async (t) => {
  const { app, write } = await startWithFile(t, studio, admin)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const taskId = await createTask(app, studio.headers)
  const stream = await fetch(`${url}/video-status/${taskId}/events`, { headers: admin.headers })
  await write(studio, { ...admin, entry: { ...admin.entry, admin: false } })
  t.match(await stream.text(), /event: status/)
  t.equal((await app.inject({ url: `/video-status/${taskId}`, headers: admin.headers })).statusCode, 404)
})
