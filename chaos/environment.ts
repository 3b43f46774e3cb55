import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmulator } from '../harness/emulator.ts'
import { unlimited } from '../harness/unlimited.ts'
import { newWebhookSecret } from '../harness/webhook-secret.ts'
import { deployCluster } from './cluster-deployment.ts'
import { FaultSchedule } from './fault-schedule.ts'
import { FaultyCallbackReceiver } from './faulty-callback-receiver.ts'
import { FileFaults } from './file-faults.ts'
import { FolderUnderTest } from './folder-under-test.ts'
import { LoadClients } from './load-clients.ts'
import { Observations } from './observations.ts'
import type { Plan } from './plan.ts'
import { S3UnderTest } from './s3-under-test.ts'
import { SeededRandom } from './seeded-random.ts'
import { deploySingle } from './single-deployment.ts'

/** Everything that takes part in a run, on free ports of 127.0.0.1 and in a folder of its own. */
export type Environment = Awaited<ReturnType<typeof createEnvironment>>

export async function createEnvironment (plan: Plan) {
  const { seed, deadlineSeconds, timeoutMs, isCluster, archive: archiveKind, extras } = plan
  const random = new SeededRandom(seed)
  const randoms = { faultSchedule: random.fork(), supervisor: random.fork(), env: random.fork(), clients: random.fork(), receiver: random.fork(), files: random.fork(), archive: random.fork() }
  const folder = await mkdtemp(join(tmpdir(), 'dreamreel-chaos-'))
  const log = createWriteStream(join(folder, 'service.log'))
  /** Writes between the lines of the service, so that one file has the order of all that happened. */
  const logEvent = (event: string): void => { log.write(`${JSON.stringify({ time: Date.now(), chaos: event })}\n`) }
  const webhookSecret = newWebhookSecret()
  const { emulator, apiUrl, close: closeEmulator } = await startEmulator({
    token: 'chaos', seed, rateLimits: false, allowHttpWebhooks: true, webhookSecret
  })
  const observations = new Observations()
  const receiver = new FaultyCallbackReceiver(randoms.receiver)
  await receiver.listen()
  const dataDir = join(folder, 'data')
  const archive = archiveKind === 's3' ? await S3UnderTest.start({ dataDir, logEvent, random: randoms.archive }) : new FolderUnderTest(dataDir)

  const env = {
    ...archive.env,
    REPLICATE_API_URL: apiUrl,
    REPLICATE_API_TOKEN: 'chaos',
    FFMPEG_PATH: 'off',
    REPLICATE_CREATE_TIMEOUT_MS: '4000',
    ...unlimited,
    REPLICATE_POLL_INTERVAL_MS: '200',
    TASK_DEADLINE_SECONDS: String(deadlineSeconds),
    // The sweep is due every 10 s then, and takes every file that no task names at that moment.
    VIDEO_ORPHAN_AGE_MINUTES: '0',
    CALLBACK_SECRET: receiver.secret,
    ALLOW_PRIVATE_CALLBACKS: 'true'
  }
  const deploy = isCluster ? deployCluster : deploySingle
  const deployment = await deploy({ plan, folder, log, logEvent, randoms, env, webhookSecret })
  const { supervisor, urls } = deployment
  const clients = new LoadClients({ urls, timeoutMs, observations, extras, random: randoms.clients, newAddress: () => receiver.newAddress() })

  /** @param keep whether the data and the log are still needed */
  async function clear (keep: boolean): Promise<void> {
    await supervisor.killAll()
    await deployment.clear(keep)
    await clients.close()
    await closeEmulator()
    await receiver.close()
    await archive.close()
    log.end()
    await once(log, 'close')
    if (!keep) await rm(folder, { recursive: true, force: true })
  }

  /** The ids of the predictions that a call has ended. */
  const cancelled = new Set<string>()
  emulator.log.changes.on('ended', ({ id }) => cancelled.add(id))
  const faultSchedule = new FaultSchedule({ emulator, logEvent, random: randoms.faultSchedule, extras, isFrozen: () => supervisor.isFrozen })
  const fileFaults = new FileFaults({ emulator, logEvent, random: randoms.files, extras })
  return { folder, urls, observations, supervisor, clients, receiver, emulator, cancelled, faultSchedule, fileFaults, archive, clear }
}
