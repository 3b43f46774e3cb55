import type { FastifyReply } from 'fastify'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { buildEdgeApp } from '../support/edge-app.ts'
import { listenRaw, readAnswer, readAnswers } from '../support/raw-exchange.ts'

const large = 'x'.repeat(200_000)

/** The server with routes that record which requests were started, and a raw connection to it. */
async function startPipeline (t: Test) {
  const started: string[] = []
  const { app, held } = await buildEdgeApp(t, {}, (scope) => {
    scope.get('/large/:number', async (request) => {
      started.push(request.url)
      return large
    })
    scope.get('/small/:number', async ({ url }) => {
      started.push(url)
      return url
    })
    scope.post('/takes', { schema: {} }, async ({ body }) => {
      started.push('POST')
      return body
    })
  })
  const open = await listenRaw(t, app)
  return { app, held, started, open }
}

const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`
const numbers = Array.from({ length: 1_000 }, (_, number) => number)

/** @returns how many requests were started once no more are, because unread responses have filled the connection */
async function startedInTheEnd (started: unknown[]): Promise<number> {
  let last = -1
  let turns = 0
  return await until(() => {
    turns = started.length === last ? turns + 1 : 0
    last = started.length
    return turns === 40 && last > 0 ? last : undefined
  }, 'the requests to be started')
}

t.test('of a thousand pipelined requests only those whose responses are read are handled, and all are answered in order', async (t) => {
  const { started, open } = await startPipeline(t)
  const socket = await open()
  socket.pause()
  socket.write(numbers.map((number) => get(`/large/${number}`)).join(''))
  const count = await startedInTheEnd(started)
  t.ok(count < 100, `${count} were started`)
  let bytes = 0
  socket.on('data', (chunk) => { bytes += chunk.length }).resume()
  await until(() => bytes > numbers.length * large.length || undefined, 'all answers')
  t.same(started, numbers.map((number) => `/large/${number}`))
})

t.test('a paused connection is read again after its responses have been sent', async (t) => {
  const { started, open, held } = await startPipeline(t)
  const socket = await open()
  held.once('held', (reply) => setImmediate(() => reply.send('first')))
  socket.write(get('/holds') + numbers.map((number) => get(`/small/${number}`)).join(''))
  const body = 'a'.repeat(900_000)
  socket.write(`POST /takes HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
  socket.write(get('/small/last', 'Connection: close\r\n'))
  const answers = await readAnswers(socket)
  t.same(answers.map(({ body }) => body), ['first', ...numbers.map((number) => `/small/${number}`), body, '/small/last'])
  t.equal(started.length, numbers.length + 2)
})

t.test('a connection on which requests wait repeatedly gets its listeners once', async (t) => {
  const { app, open } = await startPipeline(t)
  const connected = once(app.server, 'connection')
  const socket = await open()
  const [connection]: [Socket] = await connected as [Socket]
  let text = ''
  socket.on('data', (chunk) => { text += chunk })
  const listeners = []
  for (let round = 1; round <= 20; round++) {
    socket.write(get('/small/1').repeat(3))
    await until(() => text.split('HTTP/1.1 200').length > 3 * round || undefined, 'the answers')
    listeners.push(connection.listenerCount('resume') + connection.listenerCount('close'))
  }
  t.equal(Math.max(...listeners), Math.min(...listeners))
})

t.test('a request that waits for an earlier response is dropped when its client leaves, and makes room for others', async (t) => {
  const { started, open, held } = await startPipeline(t)
  const socket = await open()
  const arrived = once(held, 'held')
  socket.write(get('/holds') + get('/small/1') + get('/small/2'))
  const [reply] = await arrived
  const connection: Socket = reply.request.raw.socket
  socket.destroy()
  connection.destroy()
  await until(() => connection.closed || undefined, 'the connection to be closed')
  const other = await open()
  other.write(get('/small/3'))
  t.match(await readAnswer(other), { status: 200, body: '/small/3' })
  t.same(started, ['/small/3'])
})

t.test('a closing instance answers the requests in progress and drops those that wait behind them', async (t) => {
  const { app, started, open, held } = await startPipeline(t)
  const socket = await open()
  const arrived = once(held, 'held')
  socket.write(get('/holds') + get('/small/1'))
  const [reply] = await arrived
  const answers = readAnswers(socket)
  const closed = app.close()
  reply.header('connection', 'close').send('done')
  t.same((await answers).map(({ body }) => body), ['done'])
  await closed
  t.same(started, [])
})

t.test('the responses to an unsupported expectation and to invalid HTTP are sent in order', async (t) => {
  const { open, held } = await startPipeline(t)
  const socket = await open()
  held.once('held', (reply) => setImmediate(() => reply.send('first')))
  socket.write(get('/holds') + get('/small/1', 'Expect: wonders\r\n') + get('/small/2') + 'nonsense\r\n\r\n')
  t.same((await readAnswers(socket)).map(({ status }) => status), [200, 417, 200, 400])
})

t.test('a connection with more waiting requests than the service allows is closed, which makes room for others', async (t) => {
  const { app, open, held, started } = await startPipeline(t)
  const connections = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  const replies: FastifyReply[] = []
  held.on('held', (reply) => { replies.push(reply) })
  const flood = async (count: number) => {
    for (const socket of await Promise.all(Array.from({ length: count }, open))) {
      socket.resume().on('error', () => {}).write(get('/holds') + get('/small/1').repeat(1_500))
    }
    await until(() => replies.length === count || undefined, 'the first of each connection')
  }
  await flood(8)
  await until(() => connections.size < 8 || undefined, 'a connection to be cut')
  t.equal(connections.size, 6)
  t.equal(started.length, 0)
  for (const connection of connections) connection.destroy()
  await until(() => connections.size === 0 || undefined, 'all to be closed')
  replies.length = 0
  await flood(6)
  for (const reply of replies) reply.send('done')
  await until(() => started.length === 6 * 1_500 || undefined, 'all to be worked on')
  t.equal(connections.size, 6)
})
