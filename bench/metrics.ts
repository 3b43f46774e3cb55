import autocannon from 'autocannon'
import { scrape } from '../harness/scrape.ts'
import { absolute, connections, createPath, postOne, startEmulator, startService, type MeasuredProcess, type Row } from './setup.ts'

/** Many short rounds, so that other programs on the machine disturb both services alike. */
const rounds = 40
/** Not measured, because code is compiled meanwhile. */
const warmUpRounds = 5
/** The same work in each round, so that what a service does by itself weighs the same however busy the machine is. */
const requestsEach = 2_000
const metricsPort = 3105
/** 15 s is usual. */
const scrapeIntervalMs = 5_000
const target = 1.11

/**
 * What metrics cost: the CPU time for the same requests of a service that is scraped and of one without METRICS_PORT, in turns. Unlike
 * requests a second, it hardly depends on what else the machine does.
 */
export async function measureMetrics (): Promise<Row[]> {
  return [
    await compare('GET /video-status/{id}', 'GET', async (service) => `/video-status/${await postOne(service)}`),
    await compare('POST /generate-video', 'POST', async () => createPath)
  ]
}

async function compare (what: string, method: 'GET' | 'POST', pathAt: (service: MeasuredProcess) => Promise<string>): Promise<Row> {
  const emulator = await startEmulator(8_000)
  // At the pace of a real account, so that the jobs of one service do not disturb the other.
  const env = { REPLICATE_CREATES_PER_MINUTE: '600' }
  const [measured, plain] = [await startService({ ...env, METRICS_PORT: String(metricsPort) }, 0), await startService(env, 1)]
  const [measuredPath, plainPath] = [await pathAt(measured), await pathAt(plain)]
  let scrapes = 0
  const timer = setInterval(() => {
    scrape(`http://127.0.0.1:${metricsPort}`).then(() => { scrapes++ }, () => undefined)
  }, scrapeIntervalMs)
  const cpuMs = { measured: 0, plain: 0 }
  for (let round = 0; round < warmUpRounds + rounds; round++) {
    // The second one of a round works while the first one still has jobs to do.
    const order = round % 2 === 0 ? ['measured', 'plain'] as const : ['plain', 'measured'] as const
    for (const kind of order) {
      const used = kind === 'measured' ? await measureCpuMs(measured, measuredPath, method) : await measureCpuMs(plain, plainPath, method)
      if (round >= warmUpRounds) cpuMs[kind] += used
    }
  }
  clearInterval(timer)
  for (const process of [measured, plain, emulator]) await process.stop()
  if (scrapes === 0) throw new Error('No scrape has succeeded')
  return absolute(`${what}, CPU time with metrics ÷ without`, (cpuMs.measured / cpuMs.plain).toFixed(2), `≤ ${target}`)
}

async function measureCpuMs ({ url, process }: MeasuredProcess, path: string, method: 'GET' | 'POST'): Promise<number> {
  const before = process.cpuMs()
  const { non2xx, errors } = await autocannon({ url: url + path, method, connections, amount: requestsEach })
  if (non2xx + errors > 0) throw new Error(`${url}: ${non2xx} refused, ${errors} failed`)
  return process.cpuMs() - before
}
