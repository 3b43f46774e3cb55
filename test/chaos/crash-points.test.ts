import { createWriteStream, globSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { killPoints, freezePoints, type KillPoint, type CrashPoint } from '../../chaos/crash-points.ts'
import { InstanceProcess } from '../../chaos/instance-process.ts'
import { freePort } from '../../harness/free-port.ts'
import { until } from '../../harness/until.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import { startReceiver } from '../support/callback-receiver.ts'
import { startEmulator, testEnvironment } from '../support/service.ts'

/** The task's row, the number of videos and deliveries on disk, of predictions at the emulator, and of callbacks that were received. */
interface Expected {
  state: string
  hasIntent: boolean
  hasPrediction: boolean
  videos: number
  deliveries: number
  predictions: number
  callbacks: number
}
const queued: Expected = { state: 'queued', hasIntent: false, hasPrediction: false, videos: 0, deliveries: 0, predictions: 0, callbacks: 0 }
const submitting: Expected = { ...queued, state: 'submitting', hasIntent: true }
const generating: Expected = { ...submitting, state: 'generating', hasPrediction: true, predictions: 1 }
const storing: Expected = { ...generating, state: 'storing' }
const completed: Expected = { ...storing, state: 'completed', videos: 1, deliveries: 1 }
const expected: Record<KillPoint, Expected> = {
  before_intent: queued,
  after_intent: submitting,
  after_post_sent: { ...submitting, predictions: 1 },
  after_answer: { ...submitting, predictions: 1 },
  before_storing: generating,
  after_storing: storing,
  while_copying: storing,
  after_copying: storing,
  before_finish: { ...storing, videos: 1 },
  after_finish: completed,
  before_callback: completed,
  after_callback_answer: { ...completed, callbacks: 1 }
}

for (const point of killPoints) {
  t.test(`a process with the crash point ${point} is killed there`, async (t) => {
    const { emulator, service, dataDir, received } = await createOneTask(t, point)
    t.match(await service.ended, { by: 'crash point', signal: 'SIGKILL' })
    const { predictions, callbacks, ...row } = expected[point]
    // The request may have been sent, but not yet been read by the emulator.
    await until(() => emulator.predictions.length === predictions || undefined, `${predictions} predictions`)
    t.same(readTask(dataDir), row)
    t.equal(received.length, callbacks)
  })
}

for (const point of freezePoints.filter((point) => point !== 'freeze_while_copying')) {
  t.test(`a process that is frozen at ${point} has its submission intent on disk and has sent nothing`, async (t) => {
    const { emulator, service, dataDir } = await createOneTask(t, point)
    await service.atCrashPoint
    await service.kill()
    t.equal(emulator.calls.create, 0)
    t.match(readTask(dataDir), { state: 'submitting', hasPrediction: false })
  })
}

t.test('a process that is frozen while it copies a video has stored nothing that can be read', async (t) => {
  const { service, dataDir } = await createOneTask(t, 'freeze_while_copying')
  await service.atCrashPoint
  await service.kill()
  t.match(readTask(dataDir), { state: 'storing', videos: 0 })
})

async function createOneTask (t: Test, point: CrashPoint) {
  const { emulator, apiUrl } = await startEmulator(t)
  const { url: address, received } = await startReceiver(t)
  const dataDir = t.testdir()
  const log = createWriteStream(join(dataDir, 'log'))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const service = new InstanceProcess({
    env: {
      ...testEnvironment, PORT: String(port), DATA_DIR: dataDir, REPLICATE_API_URL: apiUrl, CALLBACK_SECRET: newWebhookSecret(), ALLOW_PRIVATE_CALLBACKS: 'true'
    },
    trigger: { point, occurrence: 1 },
    log
  })
  t.teardown(async () => {
    await service.kill()
    log.end()
  })
  await service.started(`${url}/readyz`, AbortSignal.timeout(60_000))
  await fetch(`${url}/generate-video?dream=A%20whale&style=Cursed&callback_url=${encodeURIComponent(address)}`, { method: 'POST' }).catch(() => undefined)
  return { emulator, service, dataDir, received }
}

function readTask (dataDir: string) {
  const database = new DatabaseSync(join(dataDir, 'dreamreel.db'))
  const row = database.prepare('select state, submission, prediction_id from task').get()
  const deliveries = database.prepare('select * from callback_delivery').all().length
  database.close()
  const videos = globSync('videos/*.mp4', { cwd: dataDir }).length
  return { state: row?.state, hasIntent: row?.submission !== null, hasPrediction: row?.prediction_id !== null, videos, deliveries }
}
