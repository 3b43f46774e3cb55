import type { FastifyInstance } from 'fastify'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { parseTrustedProxies, TrustedProxies } from '../../services/http/trusted-proxies.ts'
import { addressNetwork } from '../../services/net/ip-address.ts'
import { buildEdgeApp } from '../support/edge-app.ts'
import { matchList } from '../support/match-list.ts'
import { openRaw, readAnswer, readAnswers } from '../support/raw-exchange.ts'

/** Short enough for a test, long enough for many connections on a busy machine. */
const impatient = { requestTimeoutMs: 1_000, timeoutCheckMs: 100 }
const get = 'GET /files/x HTTP/1.1\r\nHost: x\r\n\r\n'
const head = 'POST /generate-video?dream=x&style=Cursed HTTP/1.1\r\nHost: x\r\n'

async function listen (app: FastifyInstance): Promise<number> {
  return Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
}

/** A connection from one of this machine's addresses. It may be closed at once. */
function openFrom (t: Test, port: number, localAddress: string): Socket {
  const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

/** Sends a text byte by byte, over and over. */
function drip (t: Test, socket: Socket, text: string): void {
  let sent = 0
  const timer = setInterval(() => socket.write(text[sent++ % text.length] ?? ''), 20)
  const stop = () => clearInterval(timer)
  socket.on('error', stop).once('close', stop)
  t.teardown(stop)
}

async function isServed (t: Test, port: number): Promise<boolean> {
  const socket = await openRaw(t, port)
  socket.write(get)
  const { status } = await readAnswer(socket)
  socket.destroy()
  return status === 200
}

t.test('hundreds of clients that send a byte at a time are cut off with 408, and others are served meanwhile', async (t) => {
  const { app } = await buildEdgeApp(t, impatient)
  const port = await listen(app)
  const slow = [
    // Headers that never end, a body that never ends, and a body in tiny chunks.
    { start: 'GET /files/x HTTP/1.1\r\nHost: x\r\n', more: 'X-More: y\r\n' },
    { start: `${head}Content-Type: text/plain\r\nContent-Length: 100000\r\n\r\n`, more: 'a' },
    { start: `${head}Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n`, more: '1\r\na\r\n' }
  ]
  const answers = Array.from({ length: 300 }, async (_, index) => {
    const { start, more } = slow[index % slow.length] ?? { start: '', more: '' }
    const socket = await openRaw(t, port)
    const answered = readAnswers(socket)
    socket.write(start)
    drip(t, socket, more)
    return await answered
  })
  for (let served = 0; served < 20; served++) t.ok(await isServed(t, port))
  for (const received of await Promise.all(answers)) t.same(received.map(({ status }) => status), [408])
  await until(async () => await connectionsOf(app) === 0, 'all connections to be closed')
})

t.test('a later request of a connection has to arrive in time, too', async (t) => {
  const { app } = await buildEdgeApp(t, impatient)
  const socket = await openRaw(t, await listen(app))
  socket.write(get)
  t.equal((await readAnswer(socket)).status, 200)
  const answered = readAnswers(socket)
  socket.write('GET /files/x HTTP/1.1\r\n')
  drip(t, socket, 'X-More: y\r\n')
  t.same((await answered).map(({ status }) => status), [408])
})

function connectionsOf (app: FastifyInstance): Promise<number> {
  return new Promise((resolve, reject) => app.server.getConnections((error, count) => error === null ? resolve(count) : reject(error)))
}

/** A server that also limits the connections of this machine, where all clients of a test are. */
async function startLimited (t: Test, options: { trustedProxies?: TrustedProxies, maxConnectionsPerAddress?: number } = {}) {
  const { app, lines } = await buildEdgeApp(t, { maxConnectionsPerAddress: 3, isLocal: () => false, ...options })
  const port = await listen(app)
  const warnings = () => lines.filter((line) => line.includes('MAX_CONNECTIONS_PER_ADDRESS')).map((line) => JSON.parse(line))
  return { app, port, warnings }
}

/** Resolves when the connection is closed, with or without an error. */
function closed (socket: Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once('close', resolve))
}

async function answerOn (socket: Socket): Promise<number> {
  socket.write(get)
  return (await readAnswer(socket)).status
}

t.test('a connection beyond the limit of its address is closed at once, and harms neither the open ones nor other addresses', async (t) => {
  const { app, port, warnings } = await startLimited(t)
  const open = Array.from({ length: 3 }, () => openFrom(t, port, '127.0.0.2'))
  for (const socket of open) t.equal(await answerOn(socket), 200)
  t.same(warnings(), [])
  for (let count = 0; count < 5; count++) await closed(openFrom(t, port, '127.0.0.2'))
  for (const socket of open) t.equal(await answerOn(socket), 200)
  t.equal(await answerOn(openFrom(t, port, '127.0.0.3')), 200)
  matchList(t, warnings(), [{ level: 40, address: '127.0.0.2', max: 3, msg: /TRUST_PROXY/ }])

  open[0]?.destroy()
  await until(async () => await connectionsOf(app) === 3, 'the server to see that a connection has ended')
  t.equal(await answerOn(openFrom(t, port, '127.0.0.2')), 200)
  await closed(openFrom(t, port, '127.0.0.2'))
  t.equal(warnings().length, 1)
})

t.test('refused connections count as none, however many there are', async (t) => {
  const { app, port } = await startLimited(t)
  const open = Array.from({ length: 3 }, () => openFrom(t, port, '127.0.0.2'))
  for (const socket of open) await answerOn(socket)
  await Promise.all(Array.from({ length: 200 }, () => closed(openFrom(t, port, '127.0.0.2'))))
  t.equal(await connectionsOf(app), 3)
  for (const socket of open) socket.destroy()
  await until(async () => await connectionsOf(app) === 0, 'all connections to be closed')
  for (let count = 0; count < 3; count++) t.equal(await answerOn(openFrom(t, port, '127.0.0.2')), 200)
})

t.test('no more than twenty addresses are logged', async (t) => {
  const { port, warnings } = await startLimited(t, { maxConnectionsPerAddress: 1 })
  for (let host = 2; host < 27; host++) {
    await answerOn(openFrom(t, port, `127.0.0.${host}`))
    await closed(openFrom(t, port, `127.0.0.${host}`))
  }
  t.equal(warnings().length, 20)
})

t.test('trusted proxies are not limited, others are', async (t) => {
  const parsed = parseTrustedProxies('127.0.0.2')
  if (!parsed.ok) throw new Error(parsed.fault)
  const { port, warnings } = await startLimited(t, { trustedProxies: parsed.proxies })
  for (let count = 0; count < 10; count++) t.equal(await answerOn(openFrom(t, port, '127.0.0.2')), 200)
  for (let count = 0; count < 3; count++) await answerOn(openFrom(t, port, '127.0.0.3'))
  await closed(openFrom(t, port, '127.0.0.3'))
  matchList(t, warnings(), [{ address: '127.0.0.3' }])
})

t.test('the machine itself is not limited, and 0 is no limit', async (t) => {
  const { app } = await buildEdgeApp(t, { maxConnectionsPerAddress: 1 })
  const port = await listen(app)
  for (let count = 0; count < 5; count++) t.equal(await answerOn(openFrom(t, port, '127.0.0.2')), 200)
  const unlimited = await startLimited(t, { maxConnectionsPerAddress: 0 })
  for (let count = 0; count < 5; count++) t.equal(await answerOn(openFrom(t, unlimited.port, '127.0.0.2')), 200)
})

t.test('a /64 of IPv6 counts as one address', async (t) => {
  t.equal(addressNetwork('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  t.equal(addressNetwork('2001:db8:1:2::7'), '2001:db8:1:2::/64')
  t.equal(addressNetwork('2001:db8:1:3::7'), '2001:db8:1:3::/64')
  t.equal(addressNetwork('fe80::1%eth0'), 'fe80::/64')
  t.equal(addressNetwork('::ffff:192.0.2.1'), '192.0.2.1')
  t.equal(addressNetwork('192.0.2.1'), '192.0.2.1')
})
