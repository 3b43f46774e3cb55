import { setTimeout as delay } from 'node:timers/promises'
import { creates, emulatorCalls, megabytes, post, startEmulator, startService, type MeasuredProcess } from './setup.ts'

const windowMs = 65_000
const latencyMs = 200
const hour = { ms: 3_600_000, seconds: '3600' }

/** The cost of waiting for 5,000 predictions at a latency of 200 ms, without webhooks and without the limit on calls. */
export async function measurePolling (what: string, env: Record<string, string>) {
  const inFlight = 5_000
  const emulator = await startEmulator(hour.ms, latencyMs)
  const service = await startService({ MAX_IN_FLIGHT: String(inFlight), REPLICATE_READS_PER_MINUTE: '1000000', TASK_DEADLINE_SECONDS: hour.seconds, ...env })
  await post(service, inFlight)
  await creates(emulator, inFlight)
  await delay(10_000)
  const cost = await measureCost([service], emulator)
  await service.stop()
  await emulator.stop()
  return { what: `${inFlight} in flight, ${what}`, ...cost }
}

/** The same for 2,000 predictions and two instances on one PostgreSQL, and the load of idle instances on the database. */
export async function measureSharedPolling (databaseUrl: string, transactions: () => Promise<number>) {
  const inFlight = 2_000
  const emulator = await startEmulator(hour.ms, latencyMs)
  const env = { DATABASE_URL: databaseUrl, MAX_IN_FLIGHT: String(inFlight / 2), TASK_DEADLINE_SECONDS: hour.seconds }
  const services = [await startService(env, 0), await startService(env, 1)]
  await delay(10_000)
  const before = await transactions()
  await delay(30_000)
  const idle = (await transactions() - before) / 30 / services.length
  if (services[0] !== undefined) await post(services[0], inFlight)
  await creates(emulator, inFlight)
  await delay(10_000)
  const cost = await measureCost(services, emulator)
  for (const process of [...services, emulator]) await process.stop()
  return { what: `${inFlight} in flight, two instances on PostgreSQL`, ...cost, 'transactions a second of an idle instance': idle.toFixed(1) }
}

async function measureCost (services: MeasuredProcess[], emulator: MeasuredProcess) {
  const cpuMs = () => services.reduce((sum, service) => sum + service.process.cpuMs(), 0)
  const reads = async () => {
    const { get, list } = await emulatorCalls(emulator)
    return get + list
  }
  const before = { reads: await reads(), cpuMs: cpuMs() }
  await delay(windowMs)
  return {
    'reads a minute': Math.round((await reads() - before.reads) * 60_000 / windowMs),
    'CPU of one core': `${(100 * (cpuMs() - before.cpuMs) / windowMs).toFixed(1)} %`,
    'resident memory': services.map((service) => megabytes(service.process.residentMegabytes())).join(', ')
  }
}
