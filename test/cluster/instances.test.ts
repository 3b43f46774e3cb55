import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { until } from '../../harness/until.ts'
import type { EmulatorOptions } from '../../replicate-emulator/app.ts'
import { cancelVideo } from '../../services/generation/cancel-video.ts'
import { createPostgresTaskStore } from '../../services/store/postgres/postgres-task-store.ts'
import { matchList } from '../support/match-list.ts'
import { createDatabase } from '../support/postgres.ts'
import { ended, postDream, startEmulator, statusOf, testEnvironment } from '../support/service.ts'

/** Instances of the service in front of one emulator and on one database. They poll predictions only once a minute. */
async function startInstances (t: Test, options: EmulatorOptions, ...envs: Array<Record<string, string>>) {
  const { emulator, apiUrl } = await startEmulator(t, options)
  const databaseUrl = await createDatabase(t)
  const start = async (env: Record<string, string>) => {
    const config = readConfig({ ...testEnvironment, REPLICATE_POLL_INTERVAL_MS: '60000', REPLICATE_API_URL: apiUrl, DATABASE_URL: databaseUrl, ...env })
    const app = await buildApp(config, { logStream: { write: () => {} } })
    t.teardown(() => app.close())
    await app.ready()
    return app
  }
  const apps = []
  for (const env of envs) apps.push(await start(env))
  return { apps, emulator, start }
}

const log = { debug () {}, info () {}, warn () {}, error () {} }

async function openStores (t: Test, count: number) {
  const databaseUrl = await createDatabase(t)
  const stores = await Promise.all(Array.from({ length: count }, () => createPostgresTaskStore({ databaseUrl, now: Date.now, log })))
  t.teardown(() => Promise.all(stores.map((store) => store.close())))
  return stores
}

t.test('a cancel on one instance ends the job on another', async (t) => {
  const { apps: [worker], emulator, start } = await startInstances(t, { generationMs: 600_000 }, {})
  if (worker === undefined) throw new Error('No instance')
  const taskId = await postDream(worker)
  await until(async () => (await statusOf(worker, taskId)).status === 'processing' || undefined, 'the prediction')
  const other = await start({})
  const { taskStore, predictionWatch, replicate } = other
  t.match(await cancelVideo(taskId, { taskStore, predictionWatch, replicate, log }), { outcome: 'canceled' })
  await until(() => worker.generationJobs.inFlight === 0 || undefined, 'the job to end')
  t.match(await statusOf(worker, taskId), { status: 'failed', error_code: 'canceled' })
  matchList(t, emulator.predictions, [{ status: 'canceled' }])
})

t.test('a webhook that reaches another instance than the one that works on the task ends the task', async (t) => {
  const webhooks = { REPLICATE_WEBHOOKS: 'on', PUBLIC_URL: 'http://127.0.0.1:9' }
  const { apps: [worker], emulator, start } = await startInstances(t, { generationMs: 600_000, allowHttpWebhooks: true }, webhooks)
  if (worker === undefined) throw new Error('No instance')
  const taskId = await postDream(worker)
  await until(async () => (await statusOf(worker, taskId)).status === 'processing' || undefined, 'the prediction')
  const other = await start({ ...webhooks, REPLICATE_WEBHOOK_SECRET: emulator.webhookSecret })
  const [prediction] = emulator.log.all
  if (prediction !== undefined) emulator.end(prediction, { status: 'succeeded' })
  const body = JSON.stringify(emulator.predictions[0])
  const at = new Date()
  const headers = {
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(emulator.webhookSecret).sign('msg_1', at, body)
  }
  const response = await other.inject({ method: 'POST', url: `/webhooks/replicate/${taskId}`, headers, body })
  t.equal(response.statusCode, 204)
  t.match(await ended(other, taskId), { status: 'completed' })
})

t.test('one instance sweeps the predictions of all instances', async (t) => {
  const env = { REPLICATE_SWEEP_THRESHOLD: '20', REPLICATE_POLL_INTERVAL_MS: '500', MAX_IN_FLIGHT: '60' }
  const { apps, emulator } = await startInstances(t, { generationMs: 600_000 }, env, env)
  const [first] = apps
  if (first === undefined) throw new Error('No instance')
  const taskIds = await Promise.all(Array.from({ length: 120 }, (_, dream) => postDream(first, `Dream ${dream}`)))
  await until(() => apps.every(({ generationJobs }) => generationJobs.inFlight >= 20) || undefined, 'both to have at least 20 tasks')
  await until(() => emulator.predictions.length === 120 || undefined, 'all predictions')
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  for (const taskId of taskIds) t.match(await ended(first, taskId), { status: 'completed' })
})

t.test('in each interval only one instance acquires the sweep', async (t) => {
  const stores = await openStores(t, 3)
  const acquired = await Promise.all([...stores, ...stores].map((store) => store.acquireSweep(60_000)))
  t.equal(acquired.filter(Boolean).length, 1)
})

t.test('all instances share one call budget and its pauses', async (t) => {
  const [first, second] = (await openStores(t, 2)).map((store) => store.callBudget('create', 60))
  if (first === undefined || second === undefined) throw new Error('No budget')
  t.match(await first.reserve(5), { calls: 5, emissionIntervalMs: 1_000 })
  const { calls, waitMs } = await second.reserve(3)
  t.equal(calls, 3)
  t.ok(waitMs > -5_000 && waitMs <= 0, `the burst of 5 s is used up: ${waitMs}`)
  t.ok((await first.reserve(1)).waitMs > 1_500, 'eight calls exceed a burst of five')
  await first.pause(30_000)
  const paused = await second.reserve(1)
  t.equal(paused.calls, 0)
  t.ok(paused.waitMs > 20_000 && paused.waitMs <= 30_000)
})
