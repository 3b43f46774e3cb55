import autocannon from 'autocannon'
import { connections, createPath, median, postOne, startBare, startEmulator, startService, type MeasuredProcess, type Row } from './setup.ts'

const rounds = 9
const secondsEach = 3

/**
 * Requests a second of `GET /video-status/{id}` and `POST /generate-video` while the background jobs of the service run,
 * compared with a bare Fastify that has the same routes and schemas and a Map.
 * @param where completes the name of each row
 * @param targets the minimum ratios
 */
export async function compareThroughput (where: string, env: Record<string, string>, targets: { read: number, create: number }): Promise<Row[]> {
  return [
    await compare(`GET /video-status/{id}${where}`, env, targets.read, 'GET', async (process) => {
      return `/video-status/${await postOne(process)}`
    }),
    await compare(`POST /generate-video${where}`, env, targets.create, 'POST', async () => createPath)
  ]
}

async function compare (what: string, env: Record<string, string>, target: number, method: 'GET' | 'POST', pathAt: (process: MeasuredProcess) => Promise<string>): Promise<Row> {
  const emulator = await startEmulator(8_000)
  const [service, bare] = [await startService(env), await startBare()]
  const paths = new Map([[service, await pathAt(service)], [bare, await pathAt(bare)]])
  const rates = new Map<MeasuredProcess, number[]>([[service, []], [bare, []]])
  for (let round = 0; round <= rounds; round++) {
    for (const [process, path] of paths) {
      const rate = await requestsPerSecond(`${process.url}${path}`, method)
      if (round > 0) rates.get(process)?.push(rate)
    }
  }
  for (const process of [service, bare, emulator]) await process.stop()
  const [serviceRates, bareRates] = [rates.get(service) ?? [], rates.get(bare) ?? []]
  // Round by round: the two measurements of a round had the same load from other programs.
  const ratios = serviceRates.map((rate, round) => rate / (bareRates[round] ?? Number.NaN))
  return {
    what: `${what}, requests/s`,
    service: median(serviceRates).toFixed(0),
    bare: median(bareRates).toFixed(0),
    ratio: `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`,
    target: `≥ ${target.toFixed(2)}`
  }
}

async function requestsPerSecond (url: string, method: 'GET' | 'POST'): Promise<number> {
  const result = await autocannon({ url, method, connections, duration: secondsEach })
  if (result.non2xx + result.errors > 0) throw new Error(`${url}: ${result.non2xx} refused, ${result.errors} failed`)
  return result.requests.average
}
