import t, { type Test } from 'tap'
import { readConfig } from '../../config.ts'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { ended, postDream, startService } from '../support/service.ts'

const create = { method: 'POST', url: '/generate-video?dream=A+whale&style=Cursed' } as const
const origin = 'https://studio.example'
const crossSite = { origin, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }
const foreign = { ...crossSite, origin: 'https://evil.invalid' }
const app = newTestKey('app')
const keys = { API_KEYS: keyList([app]) }
const withAnonymous = { API_KEYS: keyList([app], { name: 'anonymous' }) }

const start = async (t: Test, env: Record<string, string> = { CORS_ORIGINS: `${origin}, http://localhost:5173` }) => (await startService(t, { env })).app

function preflight (method: string, headers: string, from = origin) {
  return { method: 'OPTIONS' as const, headers: { ...crossSite, origin: from, 'access-control-request-method': method, 'access-control-request-headers': headers } }
}

t.test('without CORS_ORIGINS no answer has headers for other origins, and no address supports OPTIONS', async (t) => {
  const app = await start(t, {})
  for (const url of ['/generate-video?dream=x&style=Cursed', '/video-status/x', '/openapi.json', '/videos/x']) {
    const response = await app.inject({ url, ...preflight('POST', 'authorization') })
    t.match(response.json(), { status: 405, code: 'method_not_allowed' })
    t.notOk('access-control-allow-origin' in response.headers)
  }
  const response = await app.inject({ url: '/livez', headers: crossSite })
  t.notOk('access-control-allow-origin' in response.headers || 'vary' in response.headers)
})

t.test('a page of an allowed origin uses a service without keys', async (t) => {
  const app = await start(t)
  const answer = await app.inject({ url: create.url, ...preflight('POST', 'idempotency-key') })
  t.equal(answer.statusCode, 204)
  t.equal(answer.body, '')
  t.match(answer.headers, { 'access-control-allow-origin': origin, 'access-control-allow-methods': /POST.*DELETE/, 'access-control-max-age': '7200', vary: /origin/i, 'x-request-id': /./ })
  const created = await app.inject({ ...create, headers: crossSite })
  t.equal(created.statusCode, 200)
  t.match(created.headers, { 'access-control-allow-origin': origin })
  const status = await app.inject({ url: created.headers.location ?? '', headers: { ...crossSite, origin: 'http://localhost:5173' } })
  t.match(status.headers, { 'access-control-allow-origin': 'http://localhost:5173' })
  t.notOk('access-control-allow-credentials' in status.headers)
})

t.test('scripts may send each header that an operation reads, and read each header that describes an answer', async (t) => {
  const app = await start(t)
  const { headers } = await app.inject({ url: create.url, ...preflight('POST', 'prefer') })
  const allowed = String(headers['access-control-allow-headers']).toLowerCase().split(', ')
  const { paths } = (await app.inject('/openapi.json')).json()
  const operations = Object.entries<Record<string, { parameters?: Array<{ in: string, name: string }>, responses: Record<string, { headers?: object }> }>>(paths)
    .filter(([path]) => !path.startsWith('/videos/')).flatMap(([, methods]) => Object.values(methods))
  const sent = new Set(operations.flatMap(({ parameters = [] }) => parameters.filter((parameter) => parameter.in === 'header').map(({ name }) => name.toLowerCase())))
  t.ok(sent.size > 3)
  for (const name of ['authorization', 'content-type', 'range', 'traceparent', ...sent]) t.ok(allowed.includes(name), name)

  const exposed = String((await app.inject({ url: '/livez', headers: crossSite })).headers['access-control-expose-headers']).toLowerCase().split(', ')
  // Readable without being named: https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name
  exposed.push('cache-control', 'content-type')
  const received = new Set(operations.flatMap(({ responses }) => Object.values(responses)).flatMap(({ headers = {} }) => Object.keys(headers)).map((name) => name.toLowerCase()))
  t.ok(received.size > 5)
  for (const name of received) t.ok(exposed.includes(name) || ['vary', 'x-accel-buffering'].includes(name), name)
})

t.test('a page of another origin gets neither the headers nor, without a key, an answer', async (t) => {
  const app = await start(t)
  for (const from of ['https://evil.invalid', 'http://studio.example', 'https://studio.example:8443', 'https://sub.studio.example', 'https://studio.example.evil.invalid', 'null']) {
    const refused = await app.inject({ url: create.url, ...preflight('POST', 'idempotency-key', from) })
    t.match(refused.json(), { code: 'method_not_allowed' }, from)
    t.notOk('access-control-allow-origin' in refused.headers, from)
    const response = await app.inject({ ...create, headers: { ...crossSite, origin: from } })
    t.match(response.json(), { status: 403, code: 'cross_site_request', detail: /CORS_ORIGINS/ }, from)
    t.notOk('access-control-allow-origin' in response.headers, from)
    t.match(response.headers, { vary: /origin/i })
  }
  t.match((await app.inject({ url: '/openapi.json', headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'script' } })).json(),
    { code: 'cross_site_request' }, 'a script element of an allowed page sends no Origin')
  t.equal((await app.inject('/video-status')).json().items.length, 0)
})

t.test('an answer varies by Origin also if it varies by something else', async (t) => {
  const app = await start(t)
  const created = await app.inject({ ...create, headers: { ...crossSite, origin } })
  for (const response of [created, await app.inject({ url: `/video-status/${created.json().task_id}`, headers: { origin } })]) {
    t.match(response, { statusCode: 200, headers: { 'access-control-allow-origin': origin, vary: 'Origin, Prefer' } })
  }
})

t.test('an allowed origin changes nothing about host names', async (t) => {
  const app = await start(t)
  const response = await app.inject({ ...create, headers: { ...crossSite, host: 'rebound.invalid' } })
  t.match(response.json(), { status: 403, code: 'forbidden_host' })
  t.match(response.headers, { 'access-control-allow-origin': origin }, 'the page can read why')
})

t.test('a preflight is answered before the key is checked, and each refusal can be read', async (t) => {
  const service = await start(t, { ...keys, CORS_ORIGINS: origin })
  t.equal((await service.inject({ url: create.url, ...preflight('POST', 'authorization,idempotency-key') })).statusCode, 204)
  for (const [request, code] of [
    [{ ...create, headers: crossSite }, 'api_key_missing'],
    [{ ...create, headers: { ...crossSite, authorization: 'Bearer none' } }, 'api_key_invalid'],
    [{ url: '/nowhere', headers: crossSite }, 'not_found'],
    [{ url: '/generate-video', headers: crossSite }, 'method_not_allowed'],
    [{ url: '/video-status/x', headers: { ...crossSite, ...app.headers } }, 'task_not_found'],
    [{ method: 'POST', url: '/generate-video', headers: { ...crossSite, ...app.headers } }, 'validation_failed']
  ] as const) {
    const response = await service.inject(request)
    t.equal(response.json().code, code)
    t.match(response.headers, { 'access-control-allow-origin': origin, 'access-control-expose-headers': /Retry-After/ }, code)
  }
  t.equal((await service.inject({ ...create, headers: { ...crossSite, ...app.headers } })).statusCode, 200)
  const elsewhere = await service.inject({ ...create, headers: { ...foreign, ...app.headers } })
  t.equal(elsewhere.statusCode, 200, 'a key is the right to use the service')
  t.notOk('access-control-allow-origin' in elsewhere.headers, 'but the browser does not send it without a preflight')
})

t.test('OPTIONS without the headers of a preflight is an error like any other', async (t) => {
  const app = await start(t)
  for (const headers of [{}, { origin }, { origin, 'content-type': 'application/json' }]) {
    const known = await app.inject({ method: 'OPTIONS', url: '/video-status/x', headers, payload: '{' })
    t.match(known.json(), { status: 405, code: 'method_not_allowed' })
    t.equal(known.headers.allow, 'GET, HEAD, DELETE')
    t.match((await app.inject({ method: 'OPTIONS', url: '/nowhere', headers })).json(), { status: 404, code: 'not_found' })
  }
  t.match((await app.inject({ method: 'PUT', url: '/nowhere' })).json(), { code: 'not_found' })
  t.match((await app.inject({ method: 'PUT', url: '/video-status/x' })).json(), { code: 'method_not_allowed' })
})

t.test('the videos stay readable for pages of any origin', async (t) => {
  const app = await start(t)
  const { video_url: videoUrl } = await ended(app, await postDream(app))
  for (const headers of [crossSite, foreign]) {
    const response = await app.inject({ url: new URL(videoUrl ?? '').pathname, headers: { ...headers, range: 'bytes=0-1' } })
    t.equal(response.statusCode, 206)
    t.match(response.headers, { 'access-control-allow-origin': '*' })
    t.notOk('vary' in response.headers)
  }
})

t.test('* is for requests with a key only', async (t) => {
  const service = await start(t, { ...withAnonymous, CORS_ORIGINS: '*' })
  const from = 'https://any.example'
  t.match((await service.inject({ url: create.url, ...preflight('POST', 'authorization', from) })).headers, { 'access-control-allow-origin': '*' })
  const withKey = await service.inject({ ...create, headers: { ...crossSite, origin: from, ...app.headers } })
  t.equal(withKey.statusCode, 200)
  t.match(withKey.headers, { 'access-control-allow-origin': '*' })
  t.match((await service.inject({ ...create, headers: { ...crossSite, origin: from } })).json(), { status: 403, code: 'cross_site_request' })
  t.equal((await service.inject(create)).statusCode, 200, 'a program without a key')
})

t.test('a page of an allowed origin may use the entry anonymous, others may not', async (t) => {
  const service = await start(t, { ...withAnonymous, CORS_ORIGINS: origin })
  t.equal((await service.inject({ ...create, headers: crossSite })).statusCode, 200)
  t.match((await service.inject({ ...create, headers: foreign })).json(), { code: 'cross_site_request' })
})

t.test('an invalid CORS_ORIGINS ends the start with what is wrong', async (t) => {
  const read = (text: string, env: Record<string, string> = {}) => readConfig({ REPLICATE_API_TOKEN: 'x', CORS_ORIGINS: text, ...env })
  for (const [text, message] of [
    ['studio.example', /CORS_ORIGINS has “studio.example”, which is no origin: an origin is http or https/],
    ['https://studio.example, , http://localhost', /“”, which is no origin/],
    ['https://studio.example/app', /“https:\/\/studio.example\/app”, in which something follows the host/],
    ['https://studio.example?', /something follows the host/],
    ['https://studio.example#', /something follows the host/],
    ['https://*.studio.example', /\* is possible alone only/],
    ['*, https://studio.example', /\* is possible alone only/],
    ['ftp://studio.example', /is no origin/],
    ['null', /is no origin/],
    ['https:studio.example', /is no origin/],
    ['https://studio.example:99999', /is no origin/],
    ['*', /CORS_ORIGINS can be \* only with API keys/]
  ] as const) t.throws(() => read(text), { message }, text)
  const thrown = t.throws(() => read('https://user:hidden@studio.example')) as Error
  t.match(thrown.message, /a user name or a password/)
  t.notMatch(thrown.message, /hidden/)
  t.ok(read('*', keys))
  t.ok(read('*', { API_KEYS_FILE: 'keys.json' }))
})

t.test('an origin may be written in another way than browsers write it', async (t) => {
  const app = await start(t, { CORS_ORIGINS: 'HTTPS://Studio.Example:443/, http://b\u00fccher.example:80' })
  for (const from of [origin, 'http://xn--bcher-kva.example']) t.equal((await app.inject({ ...create, headers: { ...crossSite, origin: from } })).statusCode, 200, from)
})
