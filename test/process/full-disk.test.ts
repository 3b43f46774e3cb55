import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { startReceiver } from '../support/callback-receiver.ts'
import { runService } from '../support/running-service.ts'
import { startEmulator } from '../support/service.ts'

t.test('a full disk refuses new tasks, delays open ones, and loses nothing', async (t) => {
  const { emulator, apiUrl } = await startEmulator(t, { generationMs: 600_000 })
  const service = await runService(t, { DATA_DIR: t.testdir(), REPLICATE_API_URL: apiUrl })
  const url = await service.listeningUrl()
  const post = () => fetch(`${url}/generate-video?dream=A%20whale&style=Animated`, { method: 'POST' })
  const { task_id: taskId } = await (await post()).json() as { task_id: string }
  const status = async () => await (await fetch(`${url}/video-status/${taskId}`)).json() as TaskView
  await until(async () => (await status()).status === 'processing' || undefined, 'the prediction to be attached')

  await service.limitFileSize(1)
  const refused = await post()
  t.equal(refused.status, 503)
  t.equal(refused.headers.get('retry-after'), '5')
  t.match(await refused.json(), { code: 'store_unavailable' })
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  await until(() => service.output().includes('a task waits for it') || undefined, 'the end of the task to meet the full disk')
  t.equal((await status()).status, 'processing')

  await service.limitFileSize('unlimited')
  await until(async () => (await status()).status === 'completed' || undefined, 'the video')
  t.equal((await post()).status, 200)
  await until(() => emulator.predictions.length === 2 || undefined, 'the second prediction')
})

t.test('a callback that was accepted is not sent again because the disk is full at that moment', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const dataDir = t.testdir()
  const env = { DATA_DIR: dataDir, REPLICATE_API_URL: apiUrl, CALLBACK_SECRET: newWebhookSecret(), ALLOW_PRIVATE_CALLBACKS: 'true' }
  const service = await runService(t, env)
  const url = await service.listeningUrl()
  let answer = () => {}
  const receiver = await startReceiver(t, (response) => { answer = () => response.writeHead(204).end() }, 204)
  const post = () => fetch(`${url}/generate-video?dream=A+whale&style=Cursed&callback_url=${encodeURIComponent(receiver.url)}`, { method: 'POST' })
  await post()
  await until(() => receiver.received.length === 1 || undefined, 'the callback')

  await service.limitFileSize(1)
  answer()
  await until(() => service.output().includes('the result of a callback cannot be stored yet') || undefined, 'the full disk to be met')
  await service.limitFileSize('unlimited')
  t.equal((await post()).status, 200)
  await until(() => receiver.received.length === 2 || undefined, 'the second callback')
  t.equal((await service.end('SIGTERM')).code, 0)
  t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 2)
  const database = new DatabaseSync(join(dataDir, 'dreamreel.db'))
  t.teardown(() => database.close())
  t.same(database.prepare('select * from callback_delivery').all(), [])
})

t.test('a log file on a full disk loses log lines and nothing else', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const folder = t.testdir()
  const service = await runService(t, { DATA_DIR: folder, REPLICATE_API_URL: apiUrl, LOG_LEVEL: 'debug' }, `${folder}/log`)
  const url = await service.listeningUrl()
  await service.limitFileSize(1)
  for (let request = 0; request < 5; request++) t.equal((await fetch(`${url}/readyz`)).status, 200)
  await service.limitFileSize('unlimited')
  t.equal((await fetch(`${url}/livez`)).status, 200)
  await until(() => service.output().includes('"/livez"') || undefined, 'the log to go on')
  t.equal((await service.end('SIGTERM')).code, 0)
})
