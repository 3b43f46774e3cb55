import type { Test } from 'tap'
import { buildEmulator, type EmulatorOptions } from '../../replicate-emulator/app.ts'
import type { PredictionView } from '../../replicate-emulator/prediction.ts'

export const auth = { authorization: 'Bearer test-token', 'content-type': 'application/json' }

/** A listening emulator that ends with its test. */
export async function runningEmulator (t: Test, options: EmulatorOptions = {}) {
  const app = buildEmulator({ generationMs: 300, seed: 1, ...options })
  t.teardown(() => app.close())
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const create = (body: unknown = { input: { prompt: 'a dream' } }, headers: Record<string, string> = {}) =>
    fetch(`${origin}/v1/models/luma/ray/predictions`, { method: 'POST', headers: { ...auth, ...headers }, body: JSON.stringify(body) })
  const get = (path: string, headers: Record<string, string> = {}) => fetch(origin + path, { headers: { ...auth, ...headers } })
  return { app, origin, create, get, emulator: app.emulator }
}

/** A clock that moves only when the test moves it. */
export function handClock (start = Date.UTC(2025, 0, 1)) {
  let time = start
  return { now: () => time, advance (ms: number) { time += ms } }
}

/** The body of an answer, taken for what the caller expects: the assertions check it. */
export async function bodyOf<T = PredictionView> (response: Response): Promise<T> {
  return await response.json() as T
}
