import autocannon from 'autocannon'
import packageJson from '../package.json' with { type: 'json' }
import { MeasuredProcess } from './process.ts'

/** What all measurements are made on: 64 connections, and every process on the same cores. */
export const connections = 64
export const dream = '/generate-video?dream=A%20whale%20swims%20through%20the%20clouds&style=Realistic'

const ports = { bare: 3101, emulator: 3102, services: [3100, 3103, 3104] as const }
const startCommand = packageJson.scripts.start.replace(/^node /, '')

export interface Row { what: string, service: string, bare: string, ratio: string, target: string }

export function startEmulator (generationMs: number, latencyMs = 0, env: Record<string, string> = {}): Promise<MeasuredProcess> {
  return MeasuredProcess.start('replicate-emulator/server.ts', ports.emulator, '/emulator/state', {
    EMULATOR_PORT: String(ports.emulator),
    EMULATOR_RATE_LIMITS: 'off',
    EMULATOR_GENERATION_MS: String(generationMs),
    EMULATOR_LATENCY_MS: String(latencyMs),
    ...env
  })
}

/** @param instance 0, 1 or 2: each has a port of its own */
export function serviceUrl (instance: 0 | 1 | 2 = 0): string {
  return `http://127.0.0.1:${ports.services[instance]}`
}

/**
 * @param instance 0, 1 or 2: each has a port of its own
 * @param flags of Node, besides those of `npm start`
 */
export function startService (env: Record<string, string> = {}, instance: 0 | 1 | 2 = 0, flags: string[] = []): Promise<MeasuredProcess> {
  const port = ports.services[instance]
  return MeasuredProcess.start([...flags, startCommand].join(' '), port, '/readyz', {
    PORT: String(port),
    REPLICATE_API_TOKEN: 'bench',
    REPLICATE_CREATES_PER_MINUTE: '1000000',
    REPLICATE_API_URL: `http://127.0.0.1:${ports.emulator}/v1`,
    ...env
  })
}

export function startBare (): Promise<MeasuredProcess> {
  return MeasuredProcess.start(`bench/bare-server.ts ${ports.bare}`, ports.bare, '/')
}

/** Posts so many dreams. */
export async function post (service: MeasuredProcess, amount: number): Promise<void> {
  await autocannon({ url: `${service.url}${dream}`, method: 'POST', connections, amount })
}

interface Calls { create: number, get: number, list: number }

/** What the emulator has been called for so far. */
export async function callsAt (emulator: MeasuredProcess): Promise<Calls> {
  const state = await (await fetch(`${emulator.url}/emulator/state`)).json() as { calls: Calls }
  return state.calls
}

export function absolute (what: string, service: string, target: string): Row {
  return { what, service, bare: '–', ratio: '–', target }
}

export function median (values: number[]): number {
  return percentile(values, 0.5)
}

/** @param share 0 is the least, 1 the greatest */
export function percentile (values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(Math.floor(values.length * share), values.length - 1)] ?? Number.NaN
}
