import { once } from 'node:events'
import t, { type Test } from 'tap'
import { buildEdgeApp } from '../support/edge-app.ts'
import { matchList } from '../support/match-list.ts'
import { listenRaw, readAnswer, readAnswers } from '../support/raw-exchange.ts'

const dream = 'Ein Wal "fliegt" durch Zürich 🐋'
/** The dream in every form it could have in a log line, as parts that survive line breaks and quoting. */
const traces = [dream, encodeURIComponent(dream), JSON.stringify(dream).slice(1, -1), 'fliegt', '%22fliegt', 'Wal']
const query = `?dream=${encodeURIComponent(dream)}&style=Cursed`

type Line = Record<string, unknown>

function parseLines (lines: string[], message?: string): Line[] {
  return lines.map((line): Line => JSON.parse(line)).filter(({ msg }) => message === undefined || msg === message)
}

function checkNoDream (t: Test, lines: string[]): void {
  for (const trace of traces) t.same(lines.filter((line) => line.includes(trace)), [], trace)
}

async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve))
}

t.test('each answered request is one line, with the route instead of the address', async (t) => {
  const { app, lines } = await buildEdgeApp(t)
  const answer = await app.inject(`/video-status/known${query}`)
  const written = parseLines(lines)
  t.equal(written.length, 1)
  t.match(written[0], {
    level: 30,
    request_id: answer.headers['x-request-id'],
    method: 'GET',
    route: '/video-status/:task_id',
    status: 200,
    duration_ms: Number,
    task_id: '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21',
    msg: 'request'
  })
})

t.test('a request without a task has no task_id, and the line of one without a route says so', async (t) => {
  const { app, lines } = await buildEdgeApp(t)
  await app.inject('/files/x')
  await app.inject('/nothing')
  await app.inject('/%')
  t.same(parseLines(lines).map(({ route, status }) => ({ route, status })), [
    { route: '/files/*', status: 200 },
    { route: 'none', status: 404 },
    { route: 'none', status: 400 }
  ])
  t.notOk(parseLines(lines).some((line) => 'task_id' in line))
})

t.test('a 4xx is not logged as an error; a 5xx has one line with the error and one for the request', async (t) => {
  const { app, lines } = await buildEdgeApp(t)
  await app.inject({ method: 'POST', url: '/generate-video' })
  t.same(parseLines(lines).map(({ level, msg }) => ({ level, msg })), [{ level: 30, msg: 'request' }])
  await app.inject('/store-unavailable')
  matchList(t, parseLines(lines.slice(1)), [
    { level: 50, msg: 'request failed', err: { type: 'StoreUnavailableError', stack: /caused by: Error: internals: disk full/ } },
    { level: 30, msg: 'request', status: 503 }
  ])
})

t.test('a request that Node refuses is one line without the packet', async (t) => {
  const { app, lines } = await buildEdgeApp(t)
  const socket = await (await listenRaw(t, app))()
  socket.write(`GET /${query} HTTP/1.1\r\nHost: x\r\n${dream}\r\n\r\n`)
  const [answer] = await readAnswers(socket)
  matchList(t, parseLines(lines, 'request refused'), [{ level: 30, request_id: answer?.headers.get('x-request-id'), status: 400, reason: /^HPE_/ }])
  checkNoDream(t, lines)
})

t.test('a client that leaves before its response is one line', async (t) => {
  const { app, lines, held } = await buildEdgeApp(t)
  const open = await listenRaw(t, app)
  const waiting = await open()
  waiting.write(`GET /holds${query} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(held, 'held')
  waiting.destroy()
  await until(() => parseLines(lines, 'request aborted').length > 0)
  matchList(t, parseLines(lines, 'request aborted'), [{ level: 30, method: 'GET', route: '/holds', request_id: String }])
  t.same(parseLines(lines, 'request'), [])
  checkNoDream(t, lines)
})

t.test('a client that leaves in the middle of its body is not logged as an error', async (t) => {
  const { app, lines } = await buildEdgeApp(t)
  const sending = await (await listenRaw(t, app))()
  sending.write(`POST /generate-video${query} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n\r\n${dream}`)
  const [socket] = await once(app.server, 'request').then(([request]) => [request.socket])
  sending.destroy()
  if (!socket.closed) await once(socket, 'close')
  await until(() => parseLines(lines, 'request aborted').length > 0)
  t.same(parseLines(lines.slice(1)).map(({ msg }) => msg), ['request refused', 'request aborted'])
  t.notOk(parseLines(lines).some(({ level }) => Number(level) > 30))
  checkNoDream(t, lines)
})

t.test('no log line at any level contains the dream, whatever goes wrong', async (t) => {
  const { app, lines } = await buildEdgeApp(t, { requestTimeoutMs: 50, timeoutCheckMs: 20 })
  const urls = [
    '/video-status/x', '/nothing', '/throws', '/throws-text', '/rejects', '/cannot-serialise', '/sends-twice', '/store-unavailable',
    `/video-status/${encodeURIComponent(dream)}`, `/${encodeURIComponent(dream)}`, `/%ff${encodeURIComponent(dream)}`
  ]
  for (const url of urls) {
    for (const method of ['GET', 'POST', 'PROPFIND'] as const) await app.inject({ method: method as 'GET', url: url + query })
  }
  const post = { method: 'POST', url: `/generate-video${query}` } as const
  await app.inject(post)
  await app.inject({ ...post, url: `${post.url}&dream=x` })
  await app.inject({ ...post, url: post.url.replace('Cursed', encodeURIComponent(dream)) })
  await app.inject({ ...post, headers: { 'content-type': 'application/json' }, payload: dream })
  await app.inject({ ...post, headers: { 'content-type': dream.slice(0, 12) }, payload: dream })
  const open = await listenRaw(t, app)
  const head = `POST ${post.url} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n`
  for (const rest of ['Content-Length: 500\r\n\r\nx', 'Transfer-Encoding: chunked\r\n\r\nzz\r\n', `Expect: ${encodeURIComponent(dream)}\r\n\r\n`]) {
    const socket = await open()
    socket.write(head + rest)
    await readAnswer(socket)
    socket.destroy()
  }
  const broken = await open()
  broken.on('error', () => {})
  broken.write(`GET /breaks-off${query} HTTP/1.1\r\nHost: x\r\n\r\n`)
  broken.resume()
  await once(broken, 'close')
  t.ok(lines.length > urls.length * 3)
  t.ok(lines.some((line) => line.includes('sends-twice')), 'Fastify’s own warning names the address')
  t.ok(lines.some((line) => line.includes('broken')), 'Fastify’s own warning of a broken stream is there')
  checkNoDream(t, lines)
})

t.test('objects that a plugin logs are reduced to their safe members', async (t) => {
  const { app, lines } = await buildEdgeApp(t)
  await app.inject({ method: 'GET', url: `/video-status/known${query}` })
  app.log.info({ req: { method: 'GET', url: query, headers: { a: dream } }, res: { statusCode: 200, url: query } }, 'other')
  app.log.warn(`see "/x?dream="${dream.replaceAll(' ', '\\')}"`)
  app.log.error({ err: Object.assign(new Error(`GET /x${query} failed`), { body: dream }) }, 'other')
  matchList(t, parseLines(lines, 'other'), [{ req: { method: 'GET' }, res: { statusCode: 200 } }, { err: { message: 'GET /x?… failed' } }])
  checkNoDream(t, lines)
})
