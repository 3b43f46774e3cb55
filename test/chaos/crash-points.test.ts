import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { freePort } from '../../harness/free-port.ts'
import { ServiceProcess } from '../../chaos/instance-process.ts'
import { killPoints, stopPoints, type KillPoint, type StrikePoint } from '../../chaos/crash-points.ts'
import { newWebhookSecret } from '../../harness/webhook-secret.ts'
import { startReceiver } from '../support/callback-receiver.ts'
import { until } from '../../harness/until.ts'
import { startEmulator, testEnvironment } from '../support/service.ts'

/** `owed` are the deliveries on disk, `told` the callbacks that were received. */
const leftBehind: Record<KillPoint, { state: string, marked: boolean, bound: boolean, owed: number, predictions: number, told: number }> = {
  before_mark: { state: 'queued', marked: false, bound: false, owed: 0, predictions: 0, told: 0 },
  after_mark: { state: 'submitting', marked: true, bound: false, owed: 0, predictions: 0, told: 0 },
  after_post_sent: { state: 'submitting', marked: true, bound: false, owed: 0, predictions: 1, told: 0 },
  after_answer: { state: 'submitting', marked: true, bound: false, owed: 0, predictions: 1, told: 0 },
  before_finish: { state: 'generating', marked: true, bound: true, owed: 0, predictions: 1, told: 0 },
  after_finish: { state: 'completed', marked: true, bound: true, owed: 1, predictions: 1, told: 0 },
  before_callback: { state: 'completed', marked: true, bound: true, owed: 1, predictions: 1, told: 0 },
  after_callback_answer: { state: 'completed', marked: true, bound: true, owed: 1, predictions: 1, told: 1 }
}

for (const point of killPoints) {
  t.test(`a process that is to die at ${point} dies there`, async (t) => {
    const { emulator, service, dataDir, received } = await dreamOnce(t, point)
    t.match(await service.death, { by: 'strike', signal: 'SIGKILL' })
    const { predictions, told, ...row } = leftBehind[point]
    // What was sent is with the emulator's kernel, if not with the emulator.
    await until(() => emulator.predictions.length === predictions || undefined, `${predictions} predictions`)
    t.same(taskIn(dataDir), row)
    t.equal(received.length, told)
  })
}

for (const point of stopPoints) {
  t.test(`a process that is to freeze at ${point} has its mark on disk and has sent nothing`, async (t) => {
    const { emulator, service, dataDir } = await dreamOnce(t, point)
    await service.struck
    await service.kill()
    t.equal(emulator.calls.create, 0)
    t.match(taskIn(dataDir), { state: 'submitting', bound: false })
  })
}

async function dreamOnce (t: Test, point: StrikePoint) {
  const { emulator, apiUrl } = await startEmulator(t)
  const { url: address, received } = await startReceiver(t)
  const dataDir = t.testdir()
  const log = createWriteStream(join(dataDir, 'log'))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const service = new ServiceProcess({
    env: {
      ...testEnvironment, PORT: String(port), DATA_DIR: dataDir, REPLICATE_API_URL: apiUrl, CALLBACK_SECRET: newWebhookSecret(), ALLOW_PRIVATE_CALLBACKS: 'true'
    },
    strike: { point, occurrence: 1 },
    log
  })
  t.teardown(async () => {
    await service.kill()
    log.end()
  })
  await service.ready(`${url}/readyz`, AbortSignal.timeout(60_000))
  await fetch(`${url}/generate-video?dream=A%20whale&style=Cursed&callback_url=${encodeURIComponent(address)}`, { method: 'POST' }).catch(() => undefined)
  return { emulator, service, dataDir, received }
}

function taskIn (dataDir: string) {
  const database = new DatabaseSync(join(dataDir, 'dreamreel.db'))
  const row = database.prepare('select state, submission, prediction_id from task').get()
  const owed = database.prepare('select * from callback_delivery').all().length
  database.close()
  return { state: row?.state, marked: row?.submission !== null, bound: row?.prediction_id !== null, owed }
}
