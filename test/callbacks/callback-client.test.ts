import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createSocketServer, type AddressInfo, type LookupFunction, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { CallbackClient } from '../../services/callbacks/callback-client.ts'

const timeoutMs = 5_000

/** A lookup that returns one address after another for the same name. */
function namesAt (...answers: string[][]): LookupFunction {
  let asked = 0
  return (_hostname, options, callback) => {
    const addresses = (answers[Math.min(asked++, answers.length - 1)] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    const [first] = addresses
    if (first === undefined) callback(Object.assign(new Error('No such name'), { code: 'ENOTFOUND' }), [])
    else if (options.all) callback(null, addresses)
    else callback(null, first.address, first.family)
  }
}

/** Counts connections, of which there must be none. */
async function trap (t: Test, port = 0) {
  const server = createSocketServer((socket) => {
    trapped.connections++
    socket.destroy()
  })
  t.teardown(() => server.close())
  await once(server.listen(port, '127.0.0.1'), 'listening')
  const trapped = { connections: 0, port: (server.address() as AddressInfo).port }
  return trapped
}

async function receiver (t: Test, answer: Parameters<typeof createServer>[1]) {
  const server = createServer(answer ?? (() => {}))
  t.teardown(() => server.closeAllConnections())
  t.teardown(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?a=b`
}

t.test('a name that resolves to this machine or its networks is not connected to', async (t) => {
  // If the test cannot listen on such an address, only the results are checked.
  const trapped = await trap(t, 443).catch(() => undefined)
  for (const address of ['127.0.0.1', '10.0.0.1', '169.254.169.254', '::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1', 'fd00::1']) {
    const client = new CallbackClient({ allowPrivate: false, timeoutMs, lookup: namesAt([address]) })
    t.same(await client.post('https://app.example/', {}, '{}'), { outcome: 'unreachable', reason: 'not_public' }, address)
  }
  t.equal(trapped?.connections ?? 0, 0)
})

t.test('a name whose address changes from public to private after the check is resolved only once', async (t) => {
  let lookups = 0
  const names = namesAt(['127.0.0.1'])
  const client = new CallbackClient({
    allowPrivate: false,
    timeoutMs,
    lookup: (hostname, options, callback) => {
      lookups++
      names(hostname, options, callback)
    }
  })
  t.same(await client.post('https://app.example/', {}, '{}'), { outcome: 'unreachable', reason: 'not_public' })
  t.equal(lookups, 1)
})

t.test('a stored address that the rules no longer allow is not called', async (t) => {
  const trapped = await trap(t)
  const client = new CallbackClient({ allowPrivate: false, timeoutMs })
  for (const [url, reason] of [
    [`http://127.0.0.1:${trapped.port}/`, 'format'], [`https://127.0.0.1:${trapped.port}/`, 'port'], ['https://127.0.0.1/', 'not_public'], ['https://[::ffff:127.0.0.1]/', 'not_public']
  ] as const) t.same(await client.post(url, {}, '{}'), { outcome: 'unreachable', reason }, url)
  t.equal(trapped.connections, 0)
})

t.test('the status and Retry-After are returned without waiting for the body', async (t) => {
  const client = new CallbackClient({ allowPrivate: true, timeoutMs })
  const url = await receiver(t, (request, response) => {
    response.writeHead(request.url === '/hook?a=b' && request.method === 'POST' ? 503 : 404, { 'retry-after': '7' })
    response.write('an endless body')
  })
  t.same(await client.post(url, {}, '{}'), { outcome: 'answered', status: 503, retryAfterMs: 7_000 })
})

t.test('a redirect is returned and not followed', async (t) => {
  const client = new CallbackClient({ allowPrivate: true, timeoutMs })
  const trapped = await trap(t)
  const url = await receiver(t, (_request, response) => response.writeHead(307, { location: `http://127.0.0.1:${trapped.port}/` }).end())
  t.match(await client.post(url, {}, '{}'), { outcome: 'answered', status: 307 })
  t.equal(trapped.connections, 0)
})

t.test('a few interim responses are accepted, and a flood of them is refused', async (t) => {
  const client = new CallbackClient({ allowPrivate: true, timeoutMs })
  const interim = 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'
  for (const [bytes, answer] of [
    [interim.repeat(3) + 'HTTP/1.1 204 No Content\r\n\r\n', { outcome: 'answered', status: 204 }],
    [interim.repeat(10_000), { outcome: 'unreachable', reason: 'too_many_interim' }]
  ] as const) {
    const server = createSocketServer((socket) => socket.on('error', () => {}).once('data', () => socket.write(bytes)))
    t.teardown(() => server.close())
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.match(await client.post(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {}, '{}'), answer)
  }
})

t.test('every failure of a call has a code and ends the call', async (t) => {
  const client = new CallbackClient({ allowPrivate: true, timeoutMs: 300, lookup: namesAt([]) })
  t.same(await client.post('http://nowhere.example/', {}, '{}'), { outcome: 'unreachable', reason: 'ENOTFOUND' })
  t.same(await client.post('http://127.0.0.1:1/', {}, '{}'), { outcome: 'unreachable', reason: 'ECONNREFUSED' })
  const silent = await receiver(t, () => {})
  t.same(await client.post(silent, {}, '{}'), { outcome: 'unreachable', reason: 'TimeoutError' })
  for (const bytes of ['', 'nonsense\r\n\r\n', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n']) {
    const sockets: Socket[] = []
    const server = createSocketServer((socket) => {
      sockets.push(socket.on('error', () => {}))
      socket.end(bytes)
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.match(await client.post(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {}, '{}'), { outcome: 'unreachable', reason: /.+/ }, bytes.slice(0, 20))
    for (const socket of sockets) socket.destroy()
    server.close()
  }
})
