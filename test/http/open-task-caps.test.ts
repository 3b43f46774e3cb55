import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { keyList, newTestKey } from '../support/api-keys.ts'
import { createDatabase } from '../support/postgres.ts'
import { slowOn } from '../support/quick.ts'
import { startService } from '../support/service.ts'

const endless = { generationMs: 600_000 }
const create = (app: FastifyInstance, headers: Record<string, string> = {}) => (
  app.inject({ method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' }, headers })
)

for (const store of ['SQLite', 'PostgreSQL']) {
  t.test(`${store}: above MAX_OPEN_TASKS a creation is 503, makes nothing, and can be sent again with its Idempotency-Key`, slowOn(store), async (t) => {
    const env = { MAX_OPEN_TASKS: '2', ...store === 'PostgreSQL' && { DATABASE_URL: await createDatabase(t) } }
    const { app, emulator } = await startService(t, { emulator: endless, env })
    const first = await create(app, { 'idempotency-key': 'first' })
    t.same([first.statusCode, (await create(app)).statusCode], [200, 200])
    await until(() => emulator.predictions.length === 2 || undefined, 'the predictions')
    for (const headers of [{}, { 'idempotency-key': 'second' }]) {
      const refused = await create(app, headers)
      t.match(refused.json(), { status: 503, code: 'service_full' })
      t.equal(refused.headers['retry-after'], '30')
      t.equal(refused.headers.location, undefined)
    }
    const replayed = await create(app, { 'idempotency-key': 'first' })
    t.equal(replayed.headers['idempotency-replayed'], 'true')
    t.equal(replayed.json().task_id, first.json().task_id)
    t.equal((await app.inject('/video-status')).json().items.length, 2)
    t.equal((await app.inject('/readyz')).statusCode, 200)
    t.equal((await app.inject({ method: 'POST', url: `/video-status/${first.json().task_id}/cancel` })).statusCode, 200)
    const again = await create(app, { 'idempotency-key': 'second' })
    t.equal(again.statusCode, 200)
    t.equal(again.headers['idempotency-replayed'], undefined)
    t.equal((await create(app)).statusCode, 503)
    await until(() => emulator.predictions.length === 3 || undefined, 'the third prediction')
  })
}

t.test('open_tasks limits a key, or all callers without one, and a change of the file concerns the next creation', async (t) => {
  const [studio, app2] = [newTestKey('studio', { open_tasks: 2 }), newTestKey('app')]
  const folder = t.testdir({ 'keys.json': keyList([studio, app2], { name: 'anonymous', open_tasks: 1 }) })
  const { app, logLines } = await startService(t, { emulator: endless, env: { API_KEYS_FILE: join(folder, 'keys.json'), MAX_OPEN_TASKS: '7' } })
  t.same([await create(app, studio.headers), await create(app, studio.headers)].map(({ statusCode }) => statusCode), [200, 200])
  const refused = await create(app, studio.headers)
  t.match(refused.json(), { status: 429, code: 'too_many_open_tasks' })
  t.equal(refused.headers['retry-after'], '30')
  t.same([await create(app), await create(app)].map(({ statusCode }) => statusCode), [200, 429])
  t.same([await create(app, app2.headers), await create(app, app2.headers)].map(({ statusCode }) => statusCode), [200, 200])
  await writeFile(join(folder, 'new.json'), keyList([{ ...studio, entry: { ...studio.entry, open_tasks: 3 } }, app2]))
  await rename(join(folder, 'new.json'), join(folder, 'keys.json'))
  await until(async () => (await create(app, studio.headers)).statusCode === 200 || undefined, 'the new cap')
  t.match((await create(app, studio.headers)).json(), { code: 'too_many_open_tasks' })
  t.equal((await create(app, app2.headers)).statusCode, 200)
  t.match((await create(app, app2.headers)).json(), { code: 'service_full' })
  t.notOk(logLines.some((line) => line.includes('does not limit anything')))
})
