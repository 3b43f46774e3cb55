import type { InjectOptions } from 'fastify'
import { METHODS } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { errors, type ErrorCode, type Problem } from '../../errors.ts'
import { buildEdgeApp } from '../support/edge-app.ts'
import { matchList } from '../support/match-list.ts'
import { listenRaw, readAnswer, readAnswers, type RawAnswer } from '../support/raw-exchange.ts'

type Headers = Record<string, unknown>

/** Checks what must be true of every response of 400 and above, wherever it is made. */
function checkProblem (t: Test, code: ErrorCode, answer: { status: number, headers: Headers, body: string }): Problem {
  t.equal(answer.status, errors[code].status)
  t.equal(answer.headers['content-type'], 'application/problem+json')
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal(answer.headers['x-content-type-options'], 'nosniff')
  const problem: Problem = JSON.parse(answer.body)
  t.match(problem, { type: 'about:blank', title: /^[A-Z]/, status: answer.status, detail: /^\S.+[^.]$/, code })
  t.match(problem.request_id, /^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
  t.equal(answer.headers['x-request-id'], problem.request_id)
  t.equal('errors' in problem, code === 'validation_failed')
  t.notMatch(answer.body, /internals|secret|FST_ERR|node_modules/)
  return problem
}

function checkRaw (t: Test, code: ErrorCode, answer: RawAnswer | undefined): Problem {
  if (answer === undefined) throw new Error('There was no answer')
  return checkProblem(t, code, { ...answer, headers: Object.fromEntries(answer.headers) })
}

async function injectProblem (t: Test, code: ErrorCode, request: { method?: string, url: string, headers?: Record<string, string>, payload?: string | Buffer }) {
  const { app } = await buildEdgeApp(t)
  // The types contain only Fastify's own methods.
  const answer = await app.inject({ method: 'GET', ...request } as InjectOptions)
  const problem = checkProblem(t, code, { status: answer.statusCode, headers: answer.headers, body: answer.body })
  return { ...problem, headers: answer.headers }
}

/** Sends text on a new connection. @returns everything that is received until the server closes it */
async function exchange (t: Test, ...parts: Array<string | Buffer>): Promise<RawAnswer[]> {
  const { app } = await buildEdgeApp(t)
  const open = await listenRaw(t, app)
  const socket = await open()
  for (const part of parts) socket.write(part)
  return readAnswers(socket)
}

t.test('an unknown path is 404 for every method', async (t) => {
  for (const method of ['GET', 'POST', 'PROPFIND', 'OPTIONS', 'TRACE', 'DELETE']) {
    await injectProblem(t, 'not_found', { method, url: '/nothing/here?dream=x' })
  }
})

t.test('an unknown path is 404 whatever its body', async (t) => {
  await injectProblem(t, 'not_found', { method: 'POST', url: '/nothing', headers: { 'content-type': 'application/json' }, payload: '{' })
  await injectProblem(t, 'not_found', { method: 'POST', url: '/nothing', headers: { 'content-type': 'x/y' }, payload: Buffer.alloc(2_000_000) })
})

t.test('a known path with another method is 405, and Allow lists the supported ones', async (t) => {
  const { headers, detail } = await injectProblem(t, 'method_not_allowed', { method: 'PUT', url: '/video-status/x?a=b' })
  t.same(headers.allow, 'GET, HEAD')
  t.equal(detail, 'This address does not support PUT, only GET and HEAD')
  const post = await injectProblem(t, 'method_not_allowed', { url: '/generate-video?dream=x' })
  t.equal(post.headers.allow, 'POST')
  t.equal(post.detail, 'This address does not support GET, only POST')
  const wildcard = await injectProblem(t, 'method_not_allowed', { method: 'DELETE', url: '/files/a/b' })
  t.same(String(wildcard.headers.allow).split(', ').sort(), ['GET', 'HEAD', 'PUT'])
})

t.test('a known path is 405 for every other method that Node knows, whatever the body', async (t) => {
  for (const method of METHODS.filter((method) => !['GET', 'HEAD', 'CONNECT'].includes(method))) {
    await injectProblem(t, 'method_not_allowed', { method, url: '/video-status/x', headers: { 'content-type': 'application/json' } })
  }
})

t.test('a route that itself finds nothing is 404', async (t) => {
  await injectProblem(t, 'not_found', { url: '/files/missing' })
})

t.test('HEAD has the headers of the problem and no body', async (t) => {
  const { app } = await buildEdgeApp(t)
  const answer = await app.inject({ method: 'HEAD', url: '/video-status/x' })
  t.equal(answer.statusCode, 404)
  t.equal(answer.headers['content-type'], 'application/problem+json')
  t.equal(answer.body, '')
  t.equal((await app.inject({ method: 'HEAD', url: '/nothing' })).body, '')
})

t.test('a successful response has an X-Request-Id, too', async (t) => {
  const { app } = await buildEdgeApp(t)
  const ids = new Set<unknown>()
  for (let n = 0; n < 600; n++) ids.add((await app.inject('/files/x')).headers['x-request-id'])
  t.equal(ids.size, 600)
  t.notOk(ids.has(undefined))
})

t.test('a path that is not valid percent-encoding is 400', async (t) => {
  for (const url of ['/video-status/%', '/video-status/%zz', '/video-status/%ff', '/%c3']) {
    const { detail } = await injectProblem(t, 'bad_request', { url })
    t.equal(detail, 'The path of the address is not valid percent-encoded UTF-8')
  }
})

t.test('a path parameter of 10 kB reaches its route', async (t) => {
  await injectProblem(t, 'task_not_found', { url: `/video-status/${'x'.repeat(10_000)}` })
  await injectProblem(t, 'task_not_found', { url: `/video-status/${'%F0%9F%90%8B'.repeat(2000)}` })
})

t.test('every fault of a query is listed, without the values', async (t) => {
  const problem = await injectProblem(t, 'validation_failed', { method: 'POST', url: '/generate-video?dream=+%20&style=Scary&limit=0' })
  t.same(problem.errors, [
    { loc: ['query', 'dream'], msg: 'must not be empty', type: 'too_short' },
    { loc: ['query', 'style'], msg: 'must be one of Realistic, Animated, Cursed', type: 'enum' },
    { loc: ['query', 'limit'], msg: 'must be at least 1', type: 'too_small' }
  ])
  t.equal(problem.detail, 'dream must not be empty; style must be one of Realistic, Animated, Cursed; limit must be at least 1')
})

t.test('missing members are faults of their own', async (t) => {
  const { errors } = await injectProblem(t, 'validation_failed', { method: 'POST', url: '/generate-video?limit=many' })
  t.same(errors, [
    { loc: ['query', 'dream'], msg: 'is required', type: 'missing' },
    { loc: ['query', 'style'], msg: 'is required', type: 'missing' },
    { loc: ['query', 'limit'], msg: 'must be a whole number', type: 'type' }
  ])
})

t.test('a value that cannot be decoded is one fault, beside those of other parameters', async (t) => {
  const { errors } = await injectProblem(t, 'validation_failed', { method: 'POST', url: '/generate-video?dream=%ff&style=%00&limit=1&limit=1&other=%' })
  t.same(errors, [
    { loc: ['query', 'dream'], msg: 'must be valid percent-encoded UTF-8', type: 'encoding' },
    { loc: ['query', 'style'], msg: 'must not contain U+0000', type: 'null_character' },
    { loc: ['query', 'limit'], msg: 'must be given once', type: 'repeated' }
  ])
})

t.test('the faults of all parts of a request are listed together', async (t) => {
  const { errors } = await injectProblem(t, 'validation_failed', { url: '/two-parts/x?dream=x&style=%ff' })
  t.same(errors?.map(({ loc, type }) => [...loc, type]), [['path', 'number', 'type'], ['query', 'style', 'encoding']])
})

t.test('the length of a dream is counted in code points, after trimming', async (t) => {
  const { app } = await buildEdgeApp(t)
  const post = (dream: string) => app.inject({ method: 'POST', url: '/generate-video', query: { dream, style: 'Cursed' } })
  const longest = '🐋'.repeat(2000)
  t.same((await post(` \n${longest}\t`)).json(), { dream: longest, style: 'Cursed' })
  t.match((await post(`${longest}x`)).json(), { errors: [{ msg: 'must be at most 2,000 characters long', type: 'too_long' }] })
})

t.test('integers of a query are numbers, and unknown parameters change nothing', async (t) => {
  const { app } = await buildEdgeApp(t)
  const answer = await app.inject({ method: 'POST', url: '/generate-video?dream=x&style=Cursed&limit=7&__proto__=1&%ff=2' })
  t.equal(answer.statusCode, 200)
  t.match(answer.json(), { limit: 7 })
})

t.test('an unexpected error of a route is 500 without its message', async (t) => {
  for (const url of ['/throws', '/throws-text', '/rejects', '/rejects-nothing', '/cannot-serialise']) {
    const { app, lines } = await buildEdgeApp(t)
    const answer = await app.inject(url)
    const { request_id: id } = checkProblem(t, 'internal_error', { status: answer.statusCode, headers: answer.headers, body: answer.body })
    const logged = lines.map((line) => JSON.parse(line)).filter(({ level }) => level >= 50)
    matchList(t, logged, [{ request_id: id, msg: 'request failed', err: { message: /\w/, stack: /\w/ } }], url)
    t.equal(logged.length, 1)
  }
})

t.test('an unavailable store is 503 with a Retry-After, and the cause is logged', async (t) => {
  const { app, lines } = await buildEdgeApp(t)
  const answer = await app.inject('/store-unavailable')
  checkProblem(t, 'store_unavailable', { status: answer.statusCode, headers: answer.headers, body: answer.body })
  t.equal(answer.headers['retry-after'], '5')
  t.ok(lines.some((line) => line.includes('internals: disk full')))
})

t.test('a 4xx error of a library without a known code is bad_request', async (t) => {
  await injectProblem(t, 'bad_request', { url: '/teapot' })
})

t.test('a range outside of a file is 416', async (t) => {
  await injectProblem(t, 'range_not_satisfiable', { url: '/range-outside' })
})

t.test('a problem is sent whole even if the route declares another schema for the status', async (t) => {
  await injectProblem(t, 'task_not_found', { url: '/declares-another-shape' })
})

t.test('headers that a route set for its own response are not sent with a problem', async (t) => {
  const { headers } = await injectProblem(t, 'task_not_found', { url: '/sets-headers-first' })
  for (const name of ['location', 'etag', 'content-encoding']) t.notOk(name in headers, name)
  t.equal(headers.vary, 'Prefer')
})

t.test('a body that cannot be read is 400, 413 or 415', async (t) => {
  const post = { method: 'POST', url: '/generate-video?dream=x&style=Cursed' }
  const json = { 'content-type': 'application/json' }
  t.equal((await injectProblem(t, 'bad_request', { ...post, headers: json, payload: '{"a":' })).detail, 'The body is not valid JSON')
  t.match((await injectProblem(t, 'bad_request', { ...post, headers: json })).detail, /empty/)
  await injectProblem(t, 'payload_too_large', { ...post, headers: json, payload: ' '.repeat(1024 * 1024 + 1) })
  await injectProblem(t, 'unsupported_media_type', { ...post, headers: { 'content-type': 'application/x-www-form-urlencoded' }, payload: 'a=b' })
  await injectProblem(t, 'unsupported_media_type', { ...post, headers: { 'content-type': 'not a type' }, payload: 'a=b' })
})

t.test('a request that is not HTTP is 400', async (t) => {
  for (const text of ['nonsense\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', 'GET /a b HTTP/1.1\r\n\r\n', 'FETCH / HTTP/1.1\r\nHost: x\r\n\r\n', 'GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n']) {
    const [answer, ...more] = await exchange(t, text)
    checkRaw(t, 'bad_request', answer)
    t.equal(answer?.headers.get('connection'), 'close')
    t.ok(Date.parse(answer?.headers.get('date') ?? ''))
    t.same(more, [])
  }
})

t.test('a body with invalid chunks is 400', async (t) => {
  const answers = await exchange(t, 'POST /generate-video?dream=x&style=Cursed HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n')
  checkRaw(t, 'bad_request', answers[0])
  t.equal(answers.length, 1)
})

t.test('a request that ends in the middle is 400', async (t) => {
  const { app } = await buildEdgeApp(t)
  const socket = await (await listenRaw(t, app))()
  socket.end('GET /files/x HTTP/1.1\r\nHo')
  checkRaw(t, 'bad_request', (await readAnswers(socket))[0])
})

t.test('HTTP/1.1 without a Host is 400, HTTP/1.0 does not need one', async (t) => {
  const { app } = await buildEdgeApp(t)
  const open = await listenRaw(t, app)
  const socket = await open()
  socket.write('GET /files/x HTTP/1.1\r\n\r\n')
  t.equal(checkRaw(t, 'bad_request', await readAnswer(socket)).detail, 'The request has no Host header')
  const old = await open()
  old.write('GET /files/x HTTP/1.0\r\n\r\n')
  t.match(await readAnswer(old), { status: 200, body: 'a file' })
})

t.test('bytes in the address that are not percent-encoded are 400 with a sentence that says so', async (t) => {
  const [answer] = await exchange(t, 'POST /generate-video?dream=夢&style=Cursed HTTP/1.1\r\nHost: x\r\n\r\n')
  t.match(checkRaw(t, 'bad_request', answer).detail, /percent-encoded/)
})

t.test('a dream of 24 kB in the address passes, one character more is 422', async (t) => {
  const { app } = await buildEdgeApp(t)
  const socket = await (await listenRaw(t, app))()
  for (const [characters, status] of [[2000, 200], [2001, 422], [9000, 422]] as const) {
    socket.write(`POST /generate-video?dream=${'%F0%9F%90%8B'.repeat(characters)}&style=Cursed HTTP/1.1\r\nHost: x\r\n\r\n`)
    t.equal((await readAnswer(socket)).status, status)
  }
})

t.test('headers that are too large are 431', async (t) => {
  checkRaw(t, 'headers_too_large', (await exchange(t, `GET /files/x HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(200_000)}\r\n\r\n`))[0])
  checkRaw(t, 'headers_too_large', (await exchange(t, `GET /${'a'.repeat(400_000)} HTTP/1.1\r\nHost: x\r\n\r\n`))[0])
})

t.test('a client that goes on sending still gets the response, and its connection is closed in the end', async (t) => {
  const { app } = await buildEdgeApp(t)
  const socket = await (await listenRaw(t, app))()
  socket.on('error', () => {})
  const flood = Buffer.alloc(64 * 1024, 'a')
  socket.on('drain', () => socket.write(flood))
  socket.write(`GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(200_000)}`)
  socket.write(flood)
  checkRaw(t, 'headers_too_large', await readAnswer(socket))
  await new Promise((resolve) => socket.once('close', resolve))
})

t.test('a request whose headers or body do not arrive in time is 408', async (t) => {
  const { app } = await buildEdgeApp(t, { requestTimeoutMs: 50, timeoutCheckMs: 20 })
  const open = await listenRaw(t, app)
  for (const text of ['', 'GET /files', 'POST /generate-video HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nab']) {
    const socket = await open()
    socket.write(text)
    const answers = await readAnswers(socket)
    checkRaw(t, 'request_timeout', answers[0])
    t.equal(answers.length, 1)
  }
})

t.test('a request that was answered gets no second response if its body never ends', async (t) => {
  const { app } = await buildEdgeApp(t, { requestTimeoutMs: 50, timeoutCheckMs: 20 })
  const socket = await (await listenRaw(t, app))()
  socket.on('error', () => {})
  socket.write('POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nab')
  const answers = await readAnswers(socket)
  checkRaw(t, 'not_found', answers[0])
  t.equal(answers.length, 1)
})

t.test('a body over the limit is 413, with or without Content-Length, and the client may finish sending it', async (t) => {
  const { app } = await buildEdgeApp(t)
  const open = await listenRaw(t, app)
  const head = 'POST /generate-video?dream=x&style=Cursed HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n'
  const body = Buffer.alloc(3_000_000, 'a')
  for (const socket of [await open(), await open()]) {
    socket.write(`${head}Content-Length: ${body.length}\r\n\r\n`)
    socket.write(body)
    checkRaw(t, 'payload_too_large', await readAnswer(socket))
    socket.write('GET /files/x HTTP/1.1\r\nHost: x\r\n\r\n')
    t.equal((await readAnswer(socket)).status, 200)
  }
  const chunked = await open()
  chunked.write(`${head}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`)
  chunked.write(body)
  checkRaw(t, 'payload_too_large', await readAnswer(chunked))
})

t.test('chunk extensions that are too large are 413', async (t) => {
  const answers = await exchange(t, `POST /generate-video?dream=x&style=Cursed HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2;${'a'.repeat(20_000)}\r\nab\r\n`)
  checkRaw(t, 'payload_too_large', answers[0])
})

t.test('an unsupported expectation is 417, and 100-continue works', async (t) => {
  const { app } = await buildEdgeApp(t)
  const open = await listenRaw(t, app)
  const socket = await open()
  socket.write('GET /files/x HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n\r\n')
  checkRaw(t, 'expectation_failed', await readAnswer(socket))
  const patient = await open()
  patient.write('POST /generate-video?dream=x&style=Cursed HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n')
  t.equal((await readAnswer(patient)).status, 100)
  patient.write('ab')
  t.equal((await readAnswer(patient)).status, 200)
})

t.test('CONNECT is 405, and a request with an unsupported upgrade is handled without it', async (t) => {
  const answers = await exchange(t, 'CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n')
  checkRaw(t, 'method_not_allowed', answers[0])
  t.equal(answers[0]?.headers.get('allow'), '')
  const { app } = await buildEdgeApp(t)
  const socket = await (await listenRaw(t, app))()
  socket.write('GET /files/x HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n')
  t.equal((await readAnswer(socket)).status, 200)
})

t.test('request targets that are not paths get a response', async (t) => {
  const { app } = await buildEdgeApp(t)
  const socket = await (await listenRaw(t, app))()
  socket.write('OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n')
  checkRaw(t, 'not_found', await readAnswer(socket))
  socket.write('GET http://x/files/x HTTP/1.1\r\nHost: x\r\n\r\n')
  t.equal((await readAnswer(socket)).status, 200)
})

t.test('the response to an earlier request is sent before the refusal of a later one', async (t) => {
  const { app, held } = await buildEdgeApp(t)
  const socket = await (await listenRaw(t, app))()
  held.once('held', (reply) => {
    app.server.once('clientError', () => setImmediate(() => reply.send('done')))
    socket.write('nonsense\r\n\r\n')
  })
  socket.write('GET /holds HTTP/1.1\r\nHost: x\r\n\r\n')
  const answers = await readAnswers(socket)
  t.same(answers.map(({ status }) => status), [200, 400])
  checkRaw(t, 'bad_request', answers[1])
})

t.test('both servers of `localhost` refuse requests in the same way', async (t) => {
  const { app } = await buildEdgeApp(t)
  await app.listen({ port: 0, host: 'localhost' })
  for (const address of app.addresses()) {
    const socket = connect((address as AddressInfo).port, (address as AddressInfo).address)
    socket.write('nonsense\r\n\r\n')
    checkRaw(t, 'bad_request', (await readAnswers(socket))[0])
  }
})
