import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { until } from '../../harness/until.ts'
import { createDatabase } from '../support/postgres.ts'
import { slowOn } from '../support/quick.ts'
import { startEmulator, testEnvironment } from '../support/service.ts'

const stores: Record<string, (t: Test) => Promise<Record<string, string>>> = {
  SQLite: async () => ({}),
  PostgreSQL: async (t) => ({ DATABASE_URL: await createDatabase(t) })
}

async function startInstances (t: Test, env: Record<string, string>, count: number) {
  const { emulator, apiUrl } = await startEmulator(t, { generationMs: 600_000 })
  const apps = []
  for (let instance = 0; instance < count; instance++) {
    const app = await buildApp(readConfig({ ...testEnvironment, REPLICATE_API_URL: apiUrl, ...env }), { logStream: { write: () => {} } })
    t.teardown(() => app.close())
    await app.ready()
    apps.push(app)
  }
  return { apps, emulator }
}

function post (app: FastifyInstance | undefined, key: string, { dream = 'A whale', headers = {} }: { dream?: string, headers?: Record<string, string> } = {}) {
  if (app === undefined) throw new Error('No instance')
  return app.inject({ method: 'POST', url: '/generate-video', query: { dream, style: 'Cursed' }, headers: { 'idempotency-key': key, ...headers } })
}

for (const [store, envOf] of Object.entries(stores)) {
  t.test(`${store}: a request that is sent again gets the first answer and creates nothing`, slowOn(store), async (t) => {
    const { apps: [app], emulator } = await startInstances(t, await envOf(t), 1)
    const first = await post(app, 'a-key', { headers: { prefer: 'respond-async' } })
    t.equal(first.statusCode, 202)
    t.notOk('idempotency-replayed' in first.headers)
    for (const key of ['a-key', '"a-key"']) {
      const again = await post(app, key)
      t.equal(again.statusCode, 202)
      t.equal(again.headers['idempotency-replayed'], 'true')
      t.same(again.json(), first.json())
      t.equal(again.headers.location, first.headers.location)
    }
    t.not((await post(app, 'another-key')).json().task_id, first.json().task_id)
    await until(() => emulator.predictions.length === 2 || undefined, 'two predictions')
  })

  t.test(`${store}: a key that was used for another request is refused, and an invalid request does not use up its key`, slowOn(store), async (t) => {
    const { apps: [app] } = await startInstances(t, await envOf(t), 1)
    t.equal((await post(app, 'a-key', { dream: '' })).statusCode, 422)
    t.equal((await post(app, 'a-key')).statusCode, 200)
    t.match((await post(app, 'a-key', { dream: 'Another' })).json(), { status: 422, code: 'idempotency_key_reused' })
  })

  t.test(`${store}: the key of a deleted task is answered with 410 and creates no second task`, slowOn(store), async (t) => {
    const { apps: [app], emulator } = await startInstances(t, await envOf(t), 1)
    const { task_id: taskId } = (await post(app, 'a-key')).json()
    await until(() => emulator.predictions.length === 1 || undefined, 'the prediction')
    await app?.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })
    t.equal((await app?.inject({ method: 'DELETE', url: `/video-status/${taskId}` }))?.statusCode, 204)
    for (let again = 0; again < 2; again++) {
      const answer = await post(app, 'a-key')
      t.match(answer.json(), { status: 410, title: 'Gone', code: 'idempotency_key_task_deleted' })
      t.notOk('location' in answer.headers)
    }
    t.equal((await post(app, 'another-key')).statusCode, 200)
    await until(() => emulator.predictions.length === 2 || undefined, 'the prediction of the new key')
  })

  t.test(`${store}: concurrent requests with one key create one task`, slowOn(store), async (t) => {
    const { apps, emulator } = await startInstances(t, await envOf(t), store === 'SQLite' ? 1 : 3)
    const answers = await Promise.all(Array.from({ length: 30 }, (_, request) => post(apps[request % apps.length], `key-${request % 3}`)))
    t.ok(answers.every(({ statusCode }) => statusCode === 200))
    t.equal(new Set(answers.map((answer) => answer.json().task_id)).size, 3)
    t.equal(answers.filter(({ headers }) => headers['idempotency-replayed'] === undefined).length, 3)
    await until(() => emulator.predictions.length === 3 || undefined, 'three predictions')
  })
}

t.test('an invalid key is reported together with the other faults of the request', async (t) => {
  const { apps: [app] } = await startInstances(t, {}, 1)
  for (const key of ['', '""', 'two words', 'ключ', 'x'.repeat(256), `"${'x'.repeat(256)}"`]) {
    const { errors, status } = (await post(app, key, { dream: '' })).json()
    t.equal(status, 422)
    t.same(errors.map(({ loc }: { loc: string[] }) => loc.join('.')).sort(), ['header.idempotency-key', 'query.dream'], key)
  }
  for (const key of ['x'.repeat(255), `"${'x'.repeat(255)}"`, '!~']) t.equal((await post(app, key)).statusCode, 200, key)
})
