import autocannon from 'autocannon'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NodeProcess, type ProcessLog } from '../harness/node-process.ts'
import { ServiceProcess } from '../harness/service-process.ts'
import { until } from '../harness/until.ts'

/** The same for all measurements: 64 connections, and every process on the same cores. */
export const connections = 64
export const createPath = '/generate-video?dream=A%20whale%20swims%20through%20the%20clouds&style=Realistic'

const ports = { bare: 3101, emulator: 3102, services: [3100, 3103, 3104] as const }

export interface Row { what: string, service: string, bare: string, ratio: string, target: string }

/** A process under measurement. Its log and its data are in a folder of its own, which is removed when it stops. */
export interface MeasuredProcess {
  process: NodeProcess
  url: string
  /** ms from the start of the process to the first answer */
  startMs: number
  stop: () => Promise<void>
}

export function startEmulator (generationMs: number, latencyMs = 0, env: Record<string, string> = {}): Promise<MeasuredProcess> {
  return measured(ports.emulator, '/emulator/state', (log) => new NodeProcess({
    args: ['replicate-emulator/server.ts'],
    env: {
      EMULATOR_PORT: String(ports.emulator),
      EMULATOR_RATE_LIMITS: 'off',
      EMULATOR_SAMPLE_VIDEOS: 'on',
      EMULATOR_GENERATION_MS: String(generationMs),
      EMULATOR_LATENCY_MS: String(latencyMs),
      ...env
    },
    log
  }))
}

/** The index of an instance of the service: each has a port of its own. */
export type InstanceIndex = 0 | 1 | 2

export function serviceUrl (instance: InstanceIndex = 0): string {
  return urlAt(ports.services[instance])
}

/** @param options flags of Node besides those of `npm start`, and a channel */
export function startService (
  env: Record<string, string> = {}, instance: InstanceIndex = 0, options: { flags?: string[], channel?: 'ipc' } = {}
): Promise<MeasuredProcess> {
  const port = ports.services[instance]
  return measured(port, '/readyz', (log, folder) => new ServiceProcess({
    ...options,
    env: {
      PORT: String(port),
      DATA_DIR: join(folder, 'data'),
      REPLICATE_API_TOKEN: 'bench',
      FFMPEG_PATH: 'off',
      REPLICATE_CREATES_PER_MINUTE: '1000000',
      // All requests come from one address. They are counted as in any service.
      CREATES_PER_MINUTE: '1000000',
      MAX_OPEN_TASKS: '0',
      READS_PER_MINUTE: '1000000',
      REPLICATE_API_URL: `${urlAt(ports.emulator)}/v1`,
      ...env
    },
    log
  }))
}

export function startBare (): Promise<MeasuredProcess> {
  return measured(ports.bare, '/', (log) => new NodeProcess({ args: ['bench/bare-server.ts', String(ports.bare)], log }))
}

async function measured (
  port: number, readyPath: string, start: (log: ProcessLog, folder: string) => NodeProcess
): Promise<MeasuredProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'dreamreel-bench-'))
  const startedAt = performance.now()
  const process = start({ file: join(folder, 'log') }, folder)
  const url = urlAt(port)
  await process.ready(url + readyPath)
  const stop = async () => {
    await process.kill()
    await rm(folder, { recursive: true, force: true })
  }
  return { process, url, startMs: performance.now() - startedAt, stop }
}

function urlAt (port: number): string {
  return `http://127.0.0.1:${port}`
}

/** Posts that number of dreams. */
export async function post ({ url }: MeasuredProcess, amount: number): Promise<void> {
  await autocannon({ url: url + createPath, method: 'POST', connections, amount })
}

/** Posts one dream. @returns the id of its task */
export async function postOne ({ url }: MeasuredProcess): Promise<string> {
  const response = await fetch(url + createPath, { method: 'POST' })
  return (await response.json() as { task_id: string }).task_id
}

interface Calls { create: number, get: number, list: number }

/** How many calls of each kind the emulator has had so far. */
export async function emulatorCalls ({ url }: MeasuredProcess): Promise<Calls> {
  const state = await (await fetch(`${url}/emulator/state`)).json() as { calls: Calls }
  return state.calls
}

/** Waits until the emulator has had that number of creates, at most ten minutes. */
export async function creates (emulator: MeasuredProcess, count: number, intervalMs = 100): Promise<void> {
  await until(async () => (await emulatorCalls(emulator)).create >= count, `${count} creates`, { timeoutMs: 600_000, intervalMs })
}

/** A row of a figure that is compared with a fixed target, not with the bare Fastify. */
export function absolute (what: string, service: string, target: string): Row {
  return { what, service, bare: '–', ratio: '–', target }
}

export function megabytes (value: number): string {
  return `${value.toFixed(0)} MB`
}

export function median (values: number[]): number {
  return percentile(values, 0.5)
}

/** @param share 0 gives the minimum, 1 the maximum */
export function percentile (values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(Math.floor(values.length * share), values.length - 1)] ?? Number.NaN
}
