import type { FastifyInstance } from 'fastify'
import type { Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { maxLingeringBytes } from '../../services/http/lingering-close.ts'
import { buildEdgeApp } from '../support/edge-app.ts'
import { listenRaw, readAnswer } from '../support/raw-exchange.ts'
import { startService } from '../support/service.ts'

const MiB = 1024 * 1024
const head = (path: string, headers: string) => `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n\r\n`

function connectionsOf (app: FastifyInstance): Set<Socket> {
  const connections = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  return connections
}

/** Reads the response to what was written, then goes on sending until the connection is closed, which has to happen soon. */
async function checkIsCut (t: Test, socket: Socket, status: number): Promise<void> {
  t.match(await readAnswer(socket), { status })
  const chunk = Buffer.alloc(MiB)
  let sent = 0
  await t.rejects(pipeline(async function * () {
    for (; sent < 40 * maxLingeringBytes; sent += chunk.length) yield chunk
  }, socket), { code: /ECONNRESET|EPIPE/ })
  t.ok(sent < 4 * maxLingeringBytes, `${sent} bytes were sent`)
}

t.test('the connection of a client that goes on sending after its 413 is closed', async (t) => {
  const { app } = await buildEdgeApp(t)
  const open = await listenRaw(t, app)
  const json = 'Content-Type: application/json\r\nContent-Length: 99999999999'
  const socket = await open()
  socket.write(head('/generate-video?dream=x&style=Cursed', json))
  await checkIsCut(t, socket, 413)
})

t.test('the connection of a client that sends an endless body to a route that ignores it, or to none, is closed', async (t) => {
  const { app } = await startService(t)
  const open = await listenRaw(t, app)
  for (const [path, status] of [['/generate-video?dream=x&style=Cursed', 413], ['/nothing', 404]] as const) {
    for (const length of ['Content-Length: 99999999999', 'Transfer-Encoding: chunked']) {
      const socket = await open()
      socket.write(head(path, length) + (length.startsWith('T') ? `fffffffff\r\n${'a'.repeat(2 * MiB)}` : ''))
      await checkIsCut(t, socket, status)
    }
  }
})

t.test('a client that sends its whole body before it reads gets its response, and can reuse the connection', async (t) => {
  const { app } = await buildEdgeApp(t)
  const socket = await (await listenRaw(t, app))()
  const body = Buffer.alloc(2 * MiB)
  for (let request = 0; request < 20; request++) {
    socket.pause()
    socket.write(head('/generate-video?dream=x&style=Cursed', `Content-Type: application/json\r\nContent-Length: ${body.length}`))
    await new Promise((resolve) => socket.write(body, resolve))
    socket.resume()
    t.match(await readAnswer(socket), { status: 413, body: /payload_too_large/ })
  }
  t.ok(20 * body.length > 2 * maxLingeringBytes)
})

t.test('the connection of a client that stops in the middle of a refused body is closed', async (t) => {
  const { app } = await buildEdgeApp(t, { lingeringMs: 50, requestTimeoutMs: 600_000 })
  const connections = connectionsOf(app)
  const socket = await (await listenRaw(t, app))()
  socket.write(head('/generate-video?dream=x&style=Cursed', 'Content-Type: application/json\r\nContent-Length: 2000000') + 'half')
  t.match(await readAnswer(socket), { status: 413 })
  await until(() => connections.size === 0 || undefined, 'the connection to be cut')
})

t.test('the connection of a client that does not read its response is closed, but not while a client waits as long as it may', async (t) => {
  const large = Buffer.alloc(64 * MiB)
  const { app } = await buildEdgeApp(t, { idleTimeoutMs: 50 }, (scope) => { scope.get('/large', async () => large) })
  const connections = connectionsOf(app)
  const socket = await (await listenRaw(t, app))()
  socket.pause().on('error', () => {})
  socket.write('GET /large HTTP/1.1\r\nHost: x\r\n\r\n')
  await until(() => connections.size === 1 || undefined, 'the connection')
  await until(() => connections.size === 0 || undefined, 'the connection to be cut')
  const service = await startService(t)
  t.ok(service.app.server.timeout > 60_000, 'longer than Prefer: wait=60')
})
