import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { startService } from '../support/service.ts'

t.test('a request that arrives while a stopping instance is busy is answered', async (t) => {
  const { app } = await startService(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const accepted = once(app.server, 'connection')
  const client = connect(port, '127.0.0.1')
  await Promise.all([accepted, once(client, 'connect')])
  const answer = text(client)
  const closed = app.close()
  await until(async () => await isRefused(port), 'new connections to be refused')
  client.write('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
  // Longer than a request may take to arrive.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
  t.match(await answer, /^HTTP\/1.1 200/)
  await closed
})

/** Opens 30 connections with a request each, and notifies the waiting thread. Reports the first bytes of each response. */
const manyClients = `
const { connect } = require('node:net')
const { parentPort } = require('node:worker_threads')
parentPort.on('message', async ({ port, opened }) => {
  const answers = Array.from({ length: 30 }, () => new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write('GET /livez HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')
      Atomics.add(opened, 0, 1)
      Atomics.notify(opened, 0)
    })
    socket.on('data', (data) => resolve(String(data).slice(0, 12))).on('error', ({ code }) => resolve(code))
  }))
  parentPort.postMessage(await Promise.all(answers))
})
`

t.test('connections that the system has accepted before a stop are served, however many there are', async (t) => {
  const { app } = await startService(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const clients = new Worker(manyClients, { eval: true, execArgv: [] })
  t.teardown(() => clients.terminate())
  await once(clients, 'online')
  const answers = once(clients, 'message')
  const opened = new Int32Array(new SharedArrayBuffer(4))
  clients.postMessage({ port, opened })
  // This thread accepts nothing meanwhile.
  for (let count = 0; count < 30; count = Atomics.load(opened, 0)) Atomics.wait(opened, 0, count)
  await app.close()
  t.strictSame(await answers, [Array.from({ length: 30 }, () => 'HTTP/1.1 200')])
})

async function isRefused (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return false
  } catch {
    return true
  } finally {
    socket.destroy()
  }
}
