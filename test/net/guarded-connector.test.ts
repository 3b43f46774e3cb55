import { once } from 'node:events'
import { createServer, type LookupFunction, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { listen } from '../../harness/listen.ts'
import { until } from '../../harness/until.ts'
import { createGuardedConnector, publicOnly } from '../../services/net/guarded-connector.ts'

/** A lookup that returns the same addresses for every name. */
function lookupOf (...addresses: string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  return (_hostname, options, callback) => {
    if (options.all) callback(null, found)
    else callback(null, found[0]?.address ?? '', found[0]?.family)
  }
}

async function startServer (t: Test) {
  const sockets: Socket[] = []
  const server = createServer((socket) => sockets.push(socket))
  const port = await listen(server)
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return { sockets, port: String(port) }
}

type Connector = ReturnType<typeof createGuardedConnector>

/** @returns the code of the error, or `connected` */
async function connect (connector: Connector, hostname: string, port: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  connector({ hostname, host: hostname, protocol: 'http:', port }, (error, socket) => {
    socket?.destroy()
    resolve(error === null ? 'connected' : 'code' in error ? String(error.code) : error.message)
  })
  return await promise
}

t.test('only the public addresses of a name are connected to', async (t) => {
  const lookup = publicOnly(lookupOf('127.0.0.1', '8.8.8.8', '::1', '2606:4700::1111', '10.0.0.1'))
  const all = await new Promise((resolve) => lookup('app.example', { all: true }, (_error, addresses) => resolve(addresses)))
  t.same(all, [{ address: '8.8.8.8', family: 4 }, { address: '2606:4700::1111', family: 6 }])
  const one = await new Promise((resolve) => lookup('app.example', {}, (...found) => resolve(found)))
  t.same(one, [null, '8.8.8.8', 4])
})

t.test('a name or an IP address of this machine is refused', async (t) => {
  const { port, sockets } = await startServer(t)
  const connector = createGuardedConnector({ allowPrivate: false, timeoutMs: 5_000, lookup: lookupOf('127.0.0.1') })
  for (const hostname of ['app.example', '127.0.0.1', '[::1]', '::1', '[::ffff:127.0.0.1]', '169.254.169.254']) {
    t.equal(await connect(connector, hostname, port), 'not_public', hostname)
  }
  t.equal(sockets.length, 0)
})

t.test('both are connected to where private addresses are allowed', async (t) => {
  const { port, sockets } = await startServer(t)
  const connector = createGuardedConnector({ allowPrivate: true, timeoutMs: 5_000, lookup: lookupOf('127.0.0.1') })
  t.equal(await connect(connector, 'app.example', port), 'connected')
  t.equal(await connect(connector, '127.0.0.1', port), 'connected')
  await until(() => sockets.length === 2, 'both connections')
})
