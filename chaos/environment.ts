import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildEmulator } from '../replicate-emulator/app.ts'
import { CallbackReceiver } from './faulty-callback-receiver.ts'
import { Chance } from './seeded-random.ts'
import { setCluster } from './cluster-deployment.ts'
import { Dreamers } from './load-clients.ts'
import { Ledger } from './observations.ts'
import type { Plan } from './plan.ts'
import { setSingle } from './single-deployment.ts'
import { Weather } from './fault-schedule.ts'

/** Everybody who takes part, set up on free ports of 127.0.0.1 and in a folder of their own. */
export type Stage = Awaited<ReturnType<typeof setStage>>

export async function setStage (plan: Plan) {
  const { seed, deadlineSeconds, patienceMs, isCluster, extras } = plan
  const chance = new Chance(seed)
  const chances = { weather: chance.fork(), lives: chance.fork(), env: chance.fork(), dreamers: chance.fork(), receiver: chance.fork() }
  const folder = await mkdtemp(join(tmpdir(), 'dreamreel-chaos-'))
  const log = createWriteStream(join(folder, 'service.log'))
  /** Between the lines of the service, so that one file tells what happened in which order. */
  const tell = (event: string): void => { log.write(`${JSON.stringify({ time: Date.now(), chaos: event })}\n`) }
  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`
  const replicate = buildEmulator({ token: 'chaos', seed, rateLimits: false, allowHttpWebhooks: true, webhookSecret })
  const apiUrl = `${await replicate.listen({ port: 0, host: '127.0.0.1' })}/v1`
  const ledger = new Ledger()
  const receiver = new CallbackReceiver(chances.receiver)
  await receiver.listen()

  const env = {
    REPLICATE_API_URL: apiUrl,
    REPLICATE_API_TOKEN: 'chaos',
    REPLICATE_CREATE_TIMEOUT_MS: '4000',
    REPLICATE_CREATES_PER_MINUTE: '100000',
    REPLICATE_READS_PER_MINUTE: '100000',
    REPLICATE_POLL_INTERVAL_MS: '200',
    TASK_DEADLINE_SECONDS: String(deadlineSeconds),
    CALLBACK_SECRET: receiver.secret,
    ALLOW_PRIVATE_CALLBACKS: 'true'
  }
  const setScene = isCluster ? setCluster : setSingle
  const scene = await setScene({ plan, folder, log, tell, chances, env, webhookSecret })
  const { lives, urls } = scene
  const dreamers = new Dreamers({ urls, patienceMs, ledger, extras, chance: chances.dreamers, newAddress: () => receiver.newAddress() })

  /** @param keep whether the data and the log are still needed */
  async function clear (keep: boolean): Promise<void> {
    await lives.destroy()
    await scene.clear(keep)
    await dreamers.close()
    await replicate.close()
    await receiver.close()
    log.end()
    await once(log, 'close')
    if (!keep) await rm(folder, { recursive: true, force: true })
  }

  const { emulator } = replicate
  /** The predictions that were ended by a call. */
  const cancelled = new Set<string>()
  emulator.log.changes.on('ended', ({ id }) => cancelled.add(id))
  const weather = new Weather({ emulator, tell, chance: chances.weather, extras })
  return { folder, ledger, lives, dreamers, receiver, emulator, cancelled, weather, clear }
}
