import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { startService } from '../support/service.ts'

const env = { MAX_EVENT_LOOP_DELAY_MS: '100' }

/** Keeps the event loop busy until the service has noticed that it is late. */
async function overload (app: FastifyInstance): Promise<void> {
  await until(() => {
    const end = performance.now() + 500
    while (performance.now() < end);
    return app.isUnderPressure() || undefined
  }, 'the event loop to be late')
}

t.test('while the event loop is late, requests are refused without any effect, and health checks are answered', async (t) => {
  const { app, emulator } = await startService(t, { env })
  await overload(app)
  const refused = await app.inject({ method: 'POST', url: '/generate-video?dream=A%20whale&style=Cursed' })
  t.match(refused.json(), { status: 503, code: 'overloaded' })
  t.match(refused.headers, { 'retry-after': '5', 'content-type': 'application/problem+json' })
  t.match((await app.inject('/video-status')).json(), { code: 'overloaded' })
  t.same((await app.inject('/livez')).json(), { status: 'ok' })
  t.same((await app.inject('/readyz')).json(), { status: 'ok' })
  await until(() => !app.isUnderPressure() || undefined, 'the event loop to be in time')
  t.same((await app.inject('/video-status')).json(), { items: [], next_cursor: null })
  t.equal(emulator.predictions.length, 0)
})

t.test('with 0 no request is refused', async (t) => {
  const { app } = await startService(t, { env: { MAX_EVENT_LOOP_DELAY_MS: '0' } })
  t.equal(app.isUnderPressure(), false)
  t.equal((await app.inject('/video-status')).statusCode, 200)
})
