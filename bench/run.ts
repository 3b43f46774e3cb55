import autocannon from 'autocannon'
import { setTimeout as delay } from 'node:timers/promises'
import packageJson from '../package.json' with { type: 'json' }
import { MeasuredProcess } from './process.ts'

/**
 * Measures the service against a bare Fastify with the same routes, schemas and a Map, one after another on the same
 * cores. Absolute figures depend on the machine: the ratios are what counts. Ends by itself after about six minutes.
 */
const rounds = 9
const secondsEach = 3
const connections = 64
const ports = { service: 3100, bare: 3101, emulator: 3102 }
const startCommand = packageJson.scripts.start.replace(/^node /, '')
const dream = '/generate-video?dream=A%20whale%20swims%20through%20the%20clouds&style=Realistic'

const emulatorEnv = { EMULATOR_PORT: String(ports.emulator), EMULATOR_RATE_LIMITS: 'off' }
const startEmulator = (generationMs: number, latencyMs = 0) => MeasuredProcess.start('replicate-emulator/server.ts', ports.emulator, '/emulator/state',
  { ...emulatorEnv, EMULATOR_GENERATION_MS: String(generationMs), EMULATOR_LATENCY_MS: String(latencyMs) })
const startService = (env: Record<string, string> = {}) => MeasuredProcess.start(startCommand, ports.service, '/readyz', {
  PORT: String(ports.service),
  REPLICATE_API_TOKEN: 'bench',
  REPLICATE_CREATES_PER_MINUTE: '1000000',
  REPLICATE_API_URL: `http://127.0.0.1:${ports.emulator}/v1`,
  ...env
})
const startBare = () => MeasuredProcess.start(`bench/bare-fastify.ts ${ports.bare}`, ports.bare, '/')

interface Row { what: string, service: string, bare: string, ratio: string, target: string }
const rows: Row[] = []

await compareReads()
await compareCreates()
await measureBacklog()
const waits = [await measureWaiting('sweeps', {}), await measureWaiting('a read for each', { REPLICATE_SWEEP_FROM: '1000000' })]
console.table(Object.fromEntries(rows.map(({ what, ...figures }) => [what, figures])))
console.table(Object.fromEntries(waits.map(({ what, ...figures }) => [what, figures])))

/** Requests a second of `GET /video-status/{id}`. */
async function compareReads (): Promise<void> {
  await compare('GET /video-status/{id}', 0.8, 'GET', async ({ url }) => {
    const { task_id: taskId } = await (await fetch(`${url}${dream}`, { method: 'POST' })).json() as { task_id: string }
    return `/video-status/${taskId}`
  })
}

/** Requests a second of `POST /generate-video`; the service's background jobs run meanwhile. */
async function compareCreates (): Promise<void> {
  await compare('POST /generate-video', 0.25, 'POST', async () => dream)
}

async function compare (what: string, target: number, method: 'GET' | 'POST', pathAt: (process: MeasuredProcess) => Promise<string>): Promise<void> {
  const emulator = await startEmulator(8_000)
  const [service, bare] = [await startService(), await startBare()]
  const paths = new Map([[service, await pathAt(service)], [bare, await pathAt(bare)]])
  const rates = new Map<MeasuredProcess, number[]>([[service, []], [bare, []]])
  for (let round = 0; round <= rounds; round++) {
    for (const [process, path] of paths) {
      const rate = await requestsPerSecond(`${process.url}${path}`, method)
      if (round > 0) rates.get(process)?.push(rate)
    }
  }
  const [ours, theirs] = [rates.get(service) ?? [], rates.get(bare) ?? []]
  // Round by round, since the two of a round met the same weather.
  const ratios = ours.map((rate, round) => rate / (theirs[round] ?? Number.NaN))
  rows.push({
    what: `${what}, requests/s`,
    service: median(ours).toFixed(0),
    bare: median(theirs).toFixed(0),
    ratio: `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`,
    target: `≥ ${target.toFixed(2)}`
  })
  for (const process of [service, bare, emulator]) await process.stop()
}

async function requestsPerSecond (url: string, method: 'GET' | 'POST'): Promise<number> {
  const result = await autocannon({ url, method, connections, duration: secondsEach })
  if (result.non2xx + result.errors > 0) throw new Error(`${url}: ${result.non2xx} refused, ${result.errors} failed`)
  return result.requests.average
}

/** Memory with 10,000 tasks open, of which 1,000 are in flight, and the time from start to ready with them. */
async function measureBacklog (): Promise<void> {
  const emulator = await startEmulator(600_000)
  const service = await startService()
  await autocannon({ url: `${service.url}${dream}`, method: 'POST', connections, amount: 10_000 })
  while (await createsAt(emulator) < 1_000) await delay(100)
  await delay(10_000)
  rows.push(absolute('resident memory, 10,000 open', `${service.residentMegabytes().toFixed(0)} MB`, '≤ 200 MB'))
  await service.stop()
  const starts: number[] = []
  for (let round = 0; round < rounds; round++) {
    const fresh = await startService()
    starts.push(fresh.startMs)
    await fresh.stop()
  }
  rows.push(absolute('start to ready', `${median(starts).toFixed(0)} ms`, '≤ 1,000 ms'))
  await emulator.stop()
}

/** What it costs to wait for 5,000 predictions at a latency of 200 ms, without webhooks and without the limit on calls. */
async function measureWaiting (what: string, env: Record<string, string>) {
  const inFlight = 5_000
  const windowMs = 65_000
  const emulator = await startEmulator(3_600_000, 200)
  const service = await startService({ MAX_IN_FLIGHT: String(inFlight), REPLICATE_READS_PER_MINUTE: '1000000', TASK_DEADLINE_SECONDS: '3600', ...env })
  await autocannon({ url: `${service.url}${dream}`, method: 'POST', connections, amount: inFlight })
  while (await createsAt(emulator) < inFlight) await delay(100)
  await delay(10_000)
  const before = { reads: await readsAt(emulator), cpuMs: service.cpuMs() }
  await delay(windowMs)
  const reads = await readsAt(emulator) - before.reads
  const cpuMs = service.cpuMs() - before.cpuMs
  const result = {
    what: `${inFlight} in flight, ${what}`,
    'reads a minute': Math.round(reads * 60_000 / windowMs),
    'CPU of one core': `${(100 * cpuMs / windowMs).toFixed(1)} %`,
    'resident memory': `${service.residentMegabytes().toFixed(0)} MB`
  }
  await service.stop()
  await emulator.stop()
  return result
}

interface Calls { create: number, get: number, list: number }

async function callsAt (emulator: MeasuredProcess): Promise<Calls> {
  const state = await (await fetch(`${emulator.url}/emulator/state`)).json() as { calls: Calls }
  return state.calls
}

async function createsAt (emulator: MeasuredProcess): Promise<number> {
  return (await callsAt(emulator)).create
}

async function readsAt (emulator: MeasuredProcess): Promise<number> {
  const { get, list } = await callsAt(emulator)
  return get + list
}

function absolute (what: string, service: string, target: string): Row {
  return { what, service, bare: '–', ratio: '–', target }
}

function median (values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
