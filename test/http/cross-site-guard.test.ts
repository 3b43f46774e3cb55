import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { matchList } from '../support/match-list.ts'
import { readAnswers } from '../support/raw-exchange.ts'
import { startService } from '../support/service.ts'

const create = { method: 'POST', url: '/generate-video?dream=A+whale&style=Cursed' } as const

t.test('a host name that is not allowed is 403 at every address, and is logged once', async (t) => {
  const { app, logLines } = await startService(t)
  for (const request of [create, { url: '/video-status' }, { url: '/openapi.json' }, { url: '/docs/' }]) {
    const response = await app.inject({ ...request, headers: { host: 'Evil.invalid:3000' } })
    t.match(response.json(), { status: 403, code: 'forbidden_host', detail: /ALLOWED_HOSTS/ })
  }
  t.equal((await app.inject('/video-status')).json().items.length, 0)
  const warnings = logLines.filter((line) => line.includes('ALLOWED_HOSTS')).map((line) => JSON.parse(line))
  matchList(t, warnings, [{ level: 40, host: 'evil.invalid' }])
  t.equal(warnings.length, 1)
})

t.test('no more than twenty refused host names are logged', async (t) => {
  const { app, logLines } = await startService(t)
  for (let n = 0; n < 30; n++) await app.inject({ url: '/video-status', headers: { host: `n${n}.invalid` } })
  t.equal(logLines.filter((line) => line.includes('ALLOWED_HOSTS')).length, 20)
})

t.test('loopback, IP addresses, PUBLIC_URL and ALLOWED_HOSTS are allowed with any port', async (t) => {
  const { app } = await startService(t, { env: { PUBLIC_URL: 'http://Dreams.example:8080/base', ALLOWED_HOSTS: 'dreamreel, Other.example' } })
  for (const host of ['localhost', 'LOCALHOST:1', 'localhost.', '127.0.0.1:3000', '[::1]:3000', '192.168.1.20:80', '10.0.0.7', '[fd00::7]',
    'dreams.example', 'dreams.example:9', 'dreamreel:3000', 'other.example']) {
    t.equal((await app.inject({ url: '/video-status', headers: { host } })).statusCode, 200, host)
  }
  for (const host of ['dreams.example.evil.invalid', 'xdreamreel', 'sub.other.example', '127.0.0.1.evil.invalid', '1270.0.0.1']) {
    t.equal((await app.inject({ url: '/video-status', headers: { host } })).statusCode, 403, host)
  }
})

t.test('ALLOWED_HOSTS=* allows any name', async (t) => {
  const { app } = await startService(t, { env: { ALLOWED_HOSTS: '*' } })
  t.equal((await app.inject({ url: '/video-status', headers: { host: 'any.invalid' } })).statusCode, 200)
})

t.test('health checks are answered under any host name and for any caller', async (t) => {
  const { app } = await startService(t)
  for (const url of ['/livez', '/readyz']) {
    t.equal((await app.inject({ url, headers: { host: 'pod-7.invalid', 'sec-fetch-site': 'cross-site' } })).statusCode, 200)
  }
})

t.test('a cross-site request of a browser is 403 and creates no task', async (t) => {
  const { app } = await startService(t)
  const foreign = [
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'empty' },
    { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
    // Posting a form navigates to a document.
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
    { origin: 'http://evil.invalid' }, { origin: 'null' }, { origin: 'http://localhost:4000' },
    { host: 'localhost', origin: 'file://' }, { host: 'localhost', origin: 'app://localhost' }, { host: 'localhost:443', origin: 'http://localhost' }
  ].map((headers) => ({ host: '127.0.0.1:3000', ...headers }))
  for (const headers of foreign) {
    t.match((await app.inject({ ...create, headers })).json(), { status: 403, code: 'cross_site_request' }, JSON.stringify(headers))
  }
  for (const headers of [
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
    { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }
  ]) t.match((await app.inject({ url: '/video-status', headers })).json(), { code: 'cross_site_request' })
  t.equal((await app.inject('/video-status')).json().items.length, 0)
})

t.test('the page of the service itself, a link from another site, and programs are served', async (t) => {
  const { app } = await startService(t)
  for (const headers of [
    { 'sec-fetch-site': 'same-origin', origin: 'http://evil.invalid' }, { 'sec-fetch-site': 'none' },
    { host: '127.0.0.1:3000', origin: 'http://127.0.0.1:3000' }, {},
    // A proxy may write the usual port, which browsers leave out.
    { host: 'localhost:80', origin: 'http://localhost' }, { host: 'LocalHost:443', origin: 'https://localhost' }, { host: '[::1]:80', origin: 'http://[::1]' }
  ]) t.equal((await app.inject({ ...create, headers })).statusCode, 200)
  const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  t.equal((await app.inject({ url: '/docs/', headers: link })).statusCode, 200)
})

t.test('two Host headers, and an invalid one, are 400', async (t) => {
  const { app } = await startService(t)
  const port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
  for (const hosts of ['Host: localhost\r\nhost: localhost', 'Host: localhost\r\nHost: evil.invalid', 'Host: a b/c?d', 'Host: a/b', 'Host: user@a', 'Host: a:b', 'Host: [::1']) {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`GET /livez HTTP/1.1\r\n${hosts}\r\nConnection: close\r\n\r\n`)
    const [answer] = await readAnswers(socket)
    t.equal(answer?.status, 400, hosts)
    t.match(JSON.parse(answer?.body ?? ''), { code: 'bad_request', detail: /Host header/ })
  }
})
