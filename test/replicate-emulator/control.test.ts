import t from 'tap'
import { readEnvironment } from '../../replicate-emulator/environment.ts'
import { matchList } from '../support/match-list.ts'
import { auth, bodyOf, runningEmulator } from './running-emulator.ts'

t.test('the control interface says what is wrong with a body', async (t) => {
  const { origin } = await runningEmulator(t)
  const send = (path: string, body: unknown, method = 'POST') => fetch(`${origin}/emulator${path}`, { method, headers: auth, body: JSON.stringify(body) })
  const detail = async (response: Response) => {
    t.equal(response.status, 422)
    return (await bodyOf<{ detail: string }>(response)).detail
  }
  t.match(await detail(await send('/faults', { call: 'create', kind: 'explode' })), /\/kind must be equal to one of the allowed values: status, html/)
  t.match(await detail(await send('/faults', { call: 'create', kind: 'hang', often: 1 })), /additional properties: often/)
  t.match(await detail(await send('/outcomes', { status: 'succeeded', share: 2 })), /\/share must be <= 1/)
  t.match(await detail(await send('/settings', { latencyMs: 'long' }, 'PATCH')), /\/latencyMs must be number/)
})

t.test('the state shows settings, calls, predictions and the entries of the scripts that are left', async (t) => {
  const { origin, create, get } = await runningEmulator(t, { generationMs: 60_000, startingMs: 60_000 })
  const post = (path: string, body: unknown) => fetch(`${origin}/emulator${path}`, { method: 'POST', headers: auth, body: JSON.stringify(body) })
  await post('/outcomes', { status: 'failed', error: 'NSFW', times: 2 })
  await post('/faults', { call: 'get', kind: 'status', share: 0.5 })
  const { id } = await bodyOf(await create())
  t.match(await (await get('/emulator/state')).json(), {
    settings: { generationMs: 60_000 },
    calls: { create: 1, get: 0 },
    predictions: { starting: 1 },
    faults: [{ call: 'get', share: 0.5 }],
    outcomes: [{ status: 'failed', times: 1 }]
  })
  t.match(await (await post(`/predictions/${id}/finish`, { status: 'failed', error: 'now' })).json(), { status: 'failed', error: 'now' })
  t.equal((await post(`/predictions/${id}/finish`, { status: 'failed' })).status, 409)
  matchList(t, await (await get('/emulator/predictions')).json() as unknown[], [{ id, status: 'failed', input: { prompt: 'a dream' }, webhook: null }])
})

t.test('an environment with several errors is refused with all of them', async (t) => {
  t.same(readEnvironment({ EMULATOR_PORT: '0', EMULATOR_RATE_LIMITS: 'off', PATH: '' }), { port: 0, host: '127.0.0.1', emulator: { rateLimits: false } })
  t.same(readEnvironment({ EMULATOR_CLOCK_SKEW_MS: '-180000', EMULATOR_LIST_LAG_MS: '10000', EMULATOR_LIST_SHOWS_INPUT: 'off', EMULATOR_KEPT_MS: '5' }).emulator,
    { listShowsInput: false, listLagMs: 10_000, keptMs: 5, clockSkewMs: -180_000 })
  t.same(readEnvironment({ EMULATOR_FILE_RANGES: 'off', EMULATOR_SAMPLE_VIDEOS: 'on' }).emulator, { fileRanges: false, sampleVideos: true })
  t.throws(() => readEnvironment({ EMULATOR_PORT: 'x', EMULATOR_LATENCY_MS: '-1', EMULATOR_WHAT: '1' }), /EMULATOR_LATENCY_MS.*\n.*EMULATOR_PORT.*\n.*EMULATOR_WHAT/)
})
