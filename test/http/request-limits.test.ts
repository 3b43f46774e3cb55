import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { createDatabase } from '../support/postgres.ts'
import { slow } from '../support/quick.ts'
import { startEmulator, startService } from '../support/service.ts'

type Headers = Record<string, string>
interface From { headers?: Headers, remoteAddress?: string }

const endless = { generationMs: 600_000 }
const studio = newTestKey('studio')
const replacement = newTestKey('studio')
const generous = newTestKey('generous', { creates_per_minute: 4 })

const create = (app: FastifyInstance, from: From = {}) => (
  app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' }, ...from })
)

/** The codes of several creates, one after the other. */
async function createCodes (app: FastifyInstance, times: number, from: From = {}): Promise<number[]> {
  const codes = []
  for (let time = 0; time < times; time++) codes.push((await create(app, from)).statusCode)
  return codes
}

t.test('a caller that creates too many videos in a minute gets 429 and creates nothing', async (t) => {
  const { app, emulator } = await startService(t, { emulator: endless, env: { CREATES_PER_MINUTE: '2' } })
  const first = await create(app)
  t.equal(first.statusCode, 200)
  t.equal(first.headers['ratelimit-policy'], '"create";q=2;w=60')
  t.match(first.headers.ratelimit, /^"create";r=1;t=(60|5\d)$/)
  t.match((await create(app)).headers.ratelimit, /^"create";r=0;t=\d+$/)
  const refused = await create(app)
  t.match(refused.json(), { status: 429, code: 'too_many_requests', title: 'Too Many Requests' })
  const seconds = Number(refused.headers['retry-after'])
  t.ok(seconds > 0 && seconds <= 60, `Retry-After: ${seconds}`)
  t.equal(refused.headers.ratelimit, `"create";r=0;t=${seconds}`)
  t.equal((await app.inject('/video-status')).json().items.length, 2)
  t.ok(emulator.predictions.length <= 2)
})

t.test('each address has a limit of its own, and the addresses of an IPv6 network have one together', async (t) => {
  const { app } = await startService(t, { emulator: endless, env: { CREATES_PER_MINUTE: '1' } })
  t.same(await createCodes(app, 2, { remoteAddress: '192.0.2.1' }), [200, 429])
  t.same(await createCodes(app, 1, { remoteAddress: '::ffff:192.0.2.1' }), [429])
  t.same(await createCodes(app, 1, { remoteAddress: '192.0.2.2' }), [200])
  t.same(await createCodes(app, 1, { remoteAddress: '2001:db8::1' }), [200])
  t.same(await createCodes(app, 1, { remoteAddress: '2001:db8::2:1' }), [429])
  t.same(await createCodes(app, 1, { remoteAddress: '2001:db8:0:1::1' }), [200])
})

t.test('a key counts wherever its requests come from, its replacement counts with it, and an entry can have a limit of its own', async (t) => {
  const env = { CREATES_PER_MINUTE: '2', API_KEYS: keyList([studio, replacement, generous]) }
  const { app } = await startService(t, { emulator: endless, env })
  t.same(await createCodes(app, 1, { ...studio, remoteAddress: '192.0.2.1' }), [200])
  t.same(await createCodes(app, 2, { ...replacement, remoteAddress: '192.0.2.2' }), [200, 429])
  t.same(await createCodes(app, 5, generous), [200, 200, 200, 200, 429])
  t.same(await createCodes(app, 1), [401])
})

t.test('requests without a key are limited in all and for each address', async (t) => {
  const anonymous = { name: 'anonymous', creates_per_minute: 3, creates_per_minute_per_address: 2 }
  const { app } = await startService(t, { emulator: endless, env: { CREATES_PER_MINUTE: '1', API_KEYS: keyList([studio], anonymous) } })
  const first = await create(app, { remoteAddress: '192.0.2.1' })
  t.equal(first.headers['ratelimit-policy'], '"create_per_address";q=2;w=60, "create";q=3;w=60')
  t.match(first.headers.ratelimit, /^"create_per_address";r=1;t=\d+, "create";r=2;t=\d+$/)
  t.same(await createCodes(app, 3, { remoteAddress: '192.0.2.1' }), [200, 429, 429])
  t.same(await createCodes(app, 2, { remoteAddress: '192.0.2.2' }), [200, 429], 'what the first address sent above its limit used up nothing')
  t.same(await createCodes(app, 1, studio), [200])
})

t.test('without a limit in its entry, each address without a key has the common one', async (t) => {
  const { app } = await startService(t, { emulator: endless, env: { CREATES_PER_MINUTE: '1', API_KEYS: keyList([studio], { name: 'anonymous' }) } })
  const codes = await Promise.all(['192.0.2.1', '192.0.2.1', '192.0.2.2'].map((remoteAddress) => createCodes(app, 1, { remoteAddress })))
  t.same(codes.flat().toSorted(), [200, 200, 429])
})

t.test('all other requests about tasks count together, apart from creates; health, documents and videos do not count', async (t) => {
  const { app } = await startService(t, { emulator: endless, env: { READS_PER_MINUTE: '5' } })
  const taskId = (await create(app)).json().task_id
  const read = await app.inject(`/video-status/${taskId}`)
  t.equal(read.headers['ratelimit-policy'], '"read";q=5;w=60')
  t.match(read.headers.ratelimit, /^"read";r=4;t=\d+$/)
  t.match((await app.inject('/video-status/unknown')).headers.ratelimit, /r=3/)
  t.match((await app.inject('/video-status?limit=x')).headers.ratelimit, /r=2/)
  t.match((await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })).headers.ratelimit, /r=1/)
  t.match((await app.inject(`/video-status/${taskId}/events`)).headers.ratelimit, /r=0/)
  const refused = [{ url: `/video-status/${taskId}` }, { url: `/video-status/${taskId}/events` }, { method: 'DELETE' as const, url: `/video-status/${taskId}` }]
  for (const request of refused) t.match((await app.inject(request)).json(), { status: 429, code: 'too_many_requests' })
  t.equal((await create(app)).statusCode, 200)
  for (const url of ['/livez', '/readyz', '/openapi.json', '/docs/json', '/videos/unknown.mp4']) {
    const { statusCode, headers } = await app.inject(url)
    t.not(statusCode, 429, url)
    t.notOk('ratelimit' in headers, url)
  }
})

t.test('with 0 nothing is limited, and no field says so', async (t) => {
  const { app } = await startService(t, { emulator: endless, env: { CREATES_PER_MINUTE: '0', READS_PER_MINUTE: '0' } })
  t.same(new Set(await createCodes(app, 70)), new Set([200]))
  t.notOk('ratelimit' in (await create(app)).headers)
})

t.test('several instances count together', slow, async (t) => {
  const { apiUrl } = await startEmulator(t, endless)
  const env = { REPLICATE_API_URL: apiUrl, DATABASE_URL: await createDatabase(t), CREATES_PER_MINUTE: '6' }
  const apps = await Promise.all([1, 2, 3].map(async () => (await startService(t, { env })).app))
  const responses = await Promise.all(Array.from({ length: 12 }, (_, request) => create(apps[request % 3] as FastifyInstance)))
  const codes = responses.map(({ statusCode }) => statusCode)
  t.same(codes.toSorted(), [200, 200, 200, 200, 200, 200, 429, 429, 429, 429, 429, 429])
  for (const app of apps) t.same(await createCodes(app, 1), [429])
})
