import t, { type Test } from 'tap'
import { readConfig } from '../../config.ts'
import { parseTrustedProxies, TrustedProxies } from '../../services/http/trusted-proxies.ts'
import { buildEdgeApp } from '../support/edge-app.ts'
import { matchList } from '../support/match-list.ts'
import { ended, postDream, startService } from '../support/service.ts'

interface Sent { remoteAddress?: string, headers?: Record<string, string> }

function parse (text: string): TrustedProxies {
  const parsed = parseTrustedProxies(text)
  if (!parsed.ok) throw new Error(parsed.fault)
  return parsed.proxies
}

/** A service that trusts these proxies, and what it takes a request for. */
async function startTrusting (t: Test, trusted: string | undefined) {
  const { app, lines } = await buildEdgeApp(t, { trustedProxies: trusted === undefined ? TrustedProxies.none : parse(trusted) }, (scope) => {
    scope.get('/seen', async ({ ip, protocol, host, hostname }) => ({ ip, protocol, host, hostname }))
  })
  const see = async (sent: Sent) => {
    const { headers, ...answer } = await app.inject({ url: '/seen', ...sent, headers: { host: 'localhost:3000', ...sent.headers } })
    return { ...answer.json(), id: headers['x-request-id'] }
  }
  const clientOf = async (remoteAddress: string, forwardedFor?: string): Promise<string> => {
    return (await see({ remoteAddress, headers: forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor } })).ip
  }
  return { lines, see, clientOf }
}

const madeId = /^[\da-f]{8}-[\da-f]{4}-7/

t.test('without trusted proxies no header changes what a request is, and the first one is a warning', async (t) => {
  const { see, clientOf, lines } = await startTrusting(t, undefined)
  t.equal(await clientOf('192.0.2.1'), '192.0.2.1')
  t.notOk(lines.some((line) => line.includes('TRUST_PROXY')))
  const headers = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'other.example', 'x-request-id': 'mine' }
  for (let n = 0; n < 2; n++) {
    t.match(await see({ remoteAddress: '::ffff:10.0.0.3', headers }), { ip: '10.0.0.3', protocol: 'http', host: 'localhost:3000', hostname: 'localhost', id: madeId })
  }
  matchList(t, lines.filter((line) => line.includes('TRUST_PROXY')).map((line) => JSON.parse(line)), [{ level: 40, sender: '10.0.0.3' }])
})

t.test('the headers of a trusted proxy are believed, those of others are not', async (t) => {
  const { see, clientOf, lines } = await startTrusting(t, '10.0.0.0/8, 2001:db8::7')
  const headers = { 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'dreams.example:8443', 'x-request-id': '0f3c' }
  const believed = { ip: '203.0.113.9', protocol: 'https', host: 'dreams.example:8443', hostname: 'dreams.example', id: '0f3c' }
  for (const remoteAddress of ['10.1.2.3', '::ffff:10.1.2.3', '2001:db8::7', '2001:DB8:0::7']) t.same(await see({ remoteAddress, headers }), believed, remoteAddress)
  for (const remoteAddress of ['11.1.2.3', '2001:db8::8', '::ffff:11.1.2.3', '::1', '127.0.0.1']) {
    t.match(await see({ remoteAddress, headers }), { ip: remoteAddress.replace('::ffff:', ''), protocol: 'http', host: 'localhost:3000', id: madeId }, remoteAddress)
  }
  t.equal(await clientOf('10.1.2.3'), '10.1.2.3', 'a proxy that says nothing')
  t.equal(lines.filter((line) => line.includes('TRUST_PROXY')).length, 1)
})

t.test('X-Forwarded-For is read from its end up to the first address that is not trusted', async (t) => {
  const { clientOf } = await startTrusting(t, '10.0.0.0/8')
  for (const [header, client] of [
    ['6.6.6.6, 203.0.113.9', '203.0.113.9'],
    ['6.6.6.6, 203.0.113.9, 10.0.0.2', '203.0.113.9'],
    ['6.6.6.6, 10.9.9.9, 203.0.113.9, 10.0.0.2,10.0.0.3', '203.0.113.9'],
    ['10.0.0.9, 10.0.0.2', '10.0.0.9'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['::FFFF:cb00:7109', '203.0.113.9'],
    ['2001:DB8:0:0::9', '2001:db8::9'],
    ['[2001:db8::9]:4711', '2001:db8::9'],
    ['[2001:db8::9]', '2001:db8::9'],
    ['203.0.113.9:4711', '203.0.113.9'],
    ['fe80::1%eth0', 'fe80::1']
  ] as const) t.equal(await clientOf('10.0.0.1', header), client, header)
})

t.test('where a proxy adds something else than an address, the client is that proxy', async (t) => {
  const { clientOf } = await startTrusting(t, '10.0.0.0/8')
  for (const garbage of ['unknown', '', ',', ' , ', '_hidden', '1.2.3', '010.1.1.1', '1.2.3.4.5', '203.0.113.9, ', '203.0.113.9 6.6.6.6', '[::1', 'x'.repeat(50_000), ','.repeat(50_000), '203.0.113.9:x', '\u00fc']) {
    t.equal(await clientOf('10.0.0.1', garbage), '10.0.0.1', garbage.slice(0, 20))
  }
  t.equal(await clientOf('10.0.0.1', '203.0.113.9, unknown, 10.0.0.2'), '10.0.0.2')
})

t.test('a number of proxies trusts that number of entries, from any sender', async (t) => {
  const one = await startTrusting(t, '1')
  t.equal(await one.clientOf('192.0.2.1', '6.6.6.6, 203.0.113.9'), '203.0.113.9')
  t.equal(await one.clientOf('192.0.2.1'), '192.0.2.1')
  const two = await startTrusting(t, '2')
  t.equal(await two.clientOf('192.0.2.1', '6.6.6.6, 203.0.113.9, 198.51.100.1'), '203.0.113.9')
  t.equal(await two.clientOf('192.0.2.1', '203.0.113.9'), '203.0.113.9')
})

t.test('an invalid protocol, host or id of a trusted proxy is not taken over, and of several the last one is', async (t) => {
  const { see } = await startTrusting(t, '1')
  for (const protocol of ['javascript', '', 'https://', 'wss']) t.match(await see({ headers: { 'x-forwarded-proto': protocol } }), { protocol: 'http' }, protocol)
  for (const host of ['', 'a/b', 'user@a', 'a:b', 'a b', '[::1']) t.match(await see({ headers: { 'x-forwarded-host': host } }), { host: 'localhost:3000' }, host)
  for (const id of ['', 'a b', '"', 'x'.repeat(129), 'a\u00fc', '<b>', 'a,b']) t.match(await see({ headers: { 'x-request-id': id } }), { id: madeId }, id.slice(0, 10))
  for (const id of ['a', 'x'.repeat(128), '0f3c4d5e6a7b8c9d0e1f2a3b4c5d6e7f', 'Root=1-67891233-abcdef012345678912345678', '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21']) {
    t.match(await see({ headers: { 'x-request-id': id } }), { id }, id.slice(0, 40))
  }
  t.match(await see({ headers: { 'x-forwarded-proto': 'http, HTTPS', 'x-forwarded-host': 'evil.invalid, dreams.example' } }), { protocol: 'https', host: 'dreams.example' })
})

t.test('the log names the client of each request', async (t) => {
  const { clientOf, lines } = await startTrusting(t, '10.0.0.1')
  await clientOf('10.0.0.1', '203.0.113.9')
  await clientOf('10.0.0.2', '203.0.113.9')
  const requests = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'request')
  t.same(requests.map(({ client }) => client), ['203.0.113.9', '10.0.0.2'])
})

t.test('the addresses in an answer are those by which the trusted proxy was reached', async (t) => {
  const { app } = await startService(t, { env: { TRUST_PROXY: '127.0.0.1', ALLOWED_HOSTS: 'dreams.example' } })
  const id = await postDream(app)
  await ended(app, id)
  const forwarded = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'dreams.example' }
  t.match((await app.inject({ url: `/video-status/${id}`, headers: forwarded })).json().video_url, /^https:\/\/dreams\.example\/videos\//)
  t.match((await app.inject({ url: `/video-status/${id}`, headers: forwarded, remoteAddress: '192.0.2.1' })).json().video_url, /^http:\/\/localhost:80\/videos\//)
})

t.test('the host that a trusted proxy was addressed by has to be allowed, like the Host that it sends', async (t) => {
  const { app } = await startService(t, { env: { TRUST_PROXY: '127.0.0.1', ALLOWED_HOSTS: 'dreams.example' } })
  const codeOf = async (headers: Record<string, string>) => (await app.inject({ url: '/openapi.json', headers })).json().code
  t.equal(await codeOf({ host: '10.0.0.5:3000', 'x-forwarded-host': 'dreams.example' }), undefined)
  t.equal(await codeOf({ host: '10.0.0.5:3000', 'x-forwarded-host': 'evil.invalid' }), 'forbidden_host')
  t.equal(await codeOf({ host: 'evil.invalid', 'x-forwarded-host': 'dreams.example' }), 'forbidden_host')
  const create = { method: 'POST', url: '/generate-video?dream=A+whale&style=Cursed' } as const
  const own = { host: '10.0.0.5:3000', 'x-forwarded-host': 'dreams.example', origin: 'https://dreams.example' }
  t.equal((await app.inject({ ...create, headers: own })).statusCode, 200, 'a browser without Sec-Fetch-Site on the page of the service')
  t.equal((await app.inject({ ...create, headers: { ...own, origin: 'https://other.example' } })).json().code, 'cross_site_request')
})

t.test('behind a proxy, callers of a service without keys are not local', async (t) => {
  const { app } = await startService(t, { env: { TRUST_PROXY: '127.0.0.1' } })
  t.match((await app.inject('/video-status')).json(), { status: 403, code: 'keys_required' })
})

t.test('an invalid TRUST_PROXY ends the start with what is wrong', async (t) => {
  const read = (text: string) => readConfig({ REPLICATE_API_TOKEN: 'x', TRUST_PROXY: text })
  for (const [text, message] of [
    ['0', /TRUST_PROXY must be a number of proxies from 1 to 10/],
    ['11', /TRUST_PROXY must be a number of proxies from 1 to 10/],
    ['true', /TRUST_PROXY must be a number, or IP addresses.*“true” is none/],
    ['-1', /“-1” is none/],
    ['10.0.0.1,', /“” is none/],
    ['proxy.example', /“proxy.example” is none/],
    ['10.0.0.1 10.0.0.2', /“10.0.0.1 10.0.0.2” is none/],
    ['10.0.0', /“10.0.0” is none/],
    ['10.0.0.0/8/8', /“10.0.0.0\/8\/8” is none/],
    ['10.0.0.0/33', /“10.0.0.0\/33”, whose number after the slash must be from 1 to 32/],
    ['2001:db8::/129', /from 1 to 128/],
    ['10.0.0.0/', /from 1 to 32/],
    ['10.0.0.1, 0.0.0.0/0', /“0.0.0.0\/0”, which means every address/],
    ['::/0', /means every address/],
    ['::ffff:10.0.0.0/104', /write networks of IPv4 as such/]
  ] as const) t.throws(() => read(text), { message }, text)
  for (const text of ['1', '10', '10.0.0.1', ' 10.0.0.1 , ::1 ', '10.0.0.7/8', '::ffff:10.0.0.1', 'fd00::/8']) t.ok(read(text), text)
})

t.test('an IPv4 address in IPv6 notation names the IPv4 address', async (t) => {
  const { clientOf } = await startTrusting(t, '::ffff:10.0.0.1')
  t.equal(await clientOf('10.0.0.1', '203.0.113.9'), '203.0.113.9')
})
