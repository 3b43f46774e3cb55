import autocannon from 'autocannon'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { until } from '../harness/until.ts'
import { readFast, readSlowly } from './file-readers.ts'
import { connections, creates, median, megabytes, post, postOne, startEmulator, startService, type MeasuredProcess } from './setup.ts'
import { serveByNginx } from './static-nginx.ts'

const servedBytes = 50_000_000
const rounds = 7
const msEach = 3_000
const slowReaders = 200
const slowMs = 15_000
const copiedVideos = 100
const copiedBytes = 5_000_000
const hourMs = 3_600_000

interface VideoRow { what: string, service: string, compared: string, ratio: string, target: string }

/**
 * A video of 50 MB, served by the service and by nginx in turn on the same cores. Then 200 slow downloads of it from a service that has
 * just started.
 */
export async function measureServing (): Promise<VideoRow[]> {
  const dataDir = await mkdtemp(join(tmpdir(), 'dreamreel-bench-'))
  const emulator = await startEmulator(0)
  try {
    const compared = await withService(dataDir, async (service) => {
      await setNextVideos(emulator, 1, servedBytes)
      const url = await videoOf(service, await postOne(service))
      const nginx = await serveByNginx(join(dataDir, 'videos', basename(url)))
      try {
        return { url, rows: [await compareWithNginx(1, url, nginx.url), await compareWithNginx(64, url, nginx.url)] }
      } finally {
        await nginx.stop()
      }
    })
    return [...compared.rows, await withService(dataDir, (service) => measureSlowReaders(service, compared.url))]
  } finally {
    await emulator.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}

async function withService<T> (dataDir: string, measure: (service: MeasuredProcess) => Promise<T>): Promise<T> {
  const service = await startService({ DATA_DIR: dataDir })
  try {
    return await measure(service)
  } finally {
    await service.stop()
  }
}

async function compareWithNginx (readers: number, serviceUrl: string, nginxUrl: string): Promise<VideoRow> {
  const rates: { service: number, nginx: number, ratio: number }[] = []
  for (let round = 0; round <= rounds; round++) {
    const nginx = await readFast(nginxUrl, readers, msEach)
    const service = await readFast(serviceUrl, readers, msEach)
    if (round > 0) rates.push({ service, nginx, ratio: service / nginx })
  }
  const rate = (name: 'service' | 'nginx') => `${megabytes(median(rates.map((each) => each[name])) / 1e6)}/s`
  const ratios = rates.map(({ ratio }) => ratio)
  return {
    what: `a video of 50 MB, readers at once: ${readers}`,
    service: rate('service'),
    compared: `${rate('nginx')} by nginx`,
    ratio: presentRatios(ratios),
    target: '≥ 0.50'
  }
}

/** The memory that slow downloads take, at most, after one quick one has loaded the code. */
async function measureSlowReaders ({ process }: MeasuredProcess, url: string): Promise<VideoRow> {
  await (await fetch(url)).arrayBuffer()
  await delay(2_000)
  const before = process.residentMegabytes()
  const stop = readSlowly(url, slowReaders)
  let most = before
  for (const end = performance.now() + slowMs; performance.now() < end; await delay(100)) most = Math.max(most, process.residentMegabytes())
  stop()
  return {
    what: `resident memory, ${slowReaders} slow downloads`, service: `${megabytes(most - before)} more`, compared: `${megabytes(before)} before`, ratio: '–', target: '≤ 40 MB more'
  }
}

/**
 * Status reads a second while 100 predictions run, and from the moment at which all of them end at once until the last video is stored,
 * compared with reads while nothing is stored.
 */
export async function measureCopying (): Promise<VideoRow[]> {
  const emulator = await startEmulator(hourMs)
  const service = await startService({ REPLICATE_POLL_INTERVAL_MS: '500', MAX_IN_FLIGHT: String(copiedVideos) })
  const figures: { before: number, meanwhile: number, ratio: number, ms: number }[] = []
  try {
    for (let round = 1; round <= 3; round++) {
      await setNextVideos(emulator, copiedVideos, copiedBytes)
      const path = `/video-status/${await postOne(service)}`
      await post(service, copiedVideos - 1)
      await creates(emulator, copiedVideos * round)
      const before = await readsPerSecond(service.url + path, () => delay(msEach))
      const startedAt = performance.now()
      const meanwhile = await readsPerSecond(service.url + path, async () => {
        await endPredictions(emulator)
        await until(async () => !await isAnyOpen(service), 'all videos to be stored', { timeoutMs: 120_000, intervalMs: 100 })
      })
      figures.push({ before, meanwhile, ratio: meanwhile / before, ms: performance.now() - startedAt })
    }
  } finally {
    for (const { stop } of [service, emulator]) await stop()
  }
  const rate = (name: 'before' | 'meanwhile') => median(figures.map((each) => each[name])).toFixed(0)
  return [{
    what: `status reads a second, ${copiedVideos} videos of 5 MB end at once and are stored within ${(median(figures.map(({ ms }) => ms)) / 1_000).toFixed(1)} s`,
    service: rate('meanwhile'),
    compared: `${rate('before')} without`,
    ratio: presentRatios(figures.map(({ ratio }) => ratio)),
    target: '≥ 0.75'
  }]
}

async function readsPerSecond (url: string, work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  const result = Promise.withResolvers<autocannon.Result>()
  const load = autocannon({ url, connections, duration: 600 }, (error, found) => { error == null ? result.resolve(found) : result.reject(error) })
  // A load that fails ends the wait for the work.
  await Promise.race([work(), result.promise]).finally(() => load.stop())
  const ms = performance.now() - startedAt
  const { requests, non2xx, errors } = await result.promise
  if (non2xx + errors > 0) throw new Error(`${url}: ${non2xx} refused, ${errors} failed`)
  return requests.total * 1_000 / ms
}

async function setNextVideos ({ url }: MeasuredProcess, times: number, bytes: number): Promise<void> {
  await postJson(`${url}/emulator/outcomes`, { status: 'succeeded', video: { bytes }, times })
}

async function endPredictions ({ url }: MeasuredProcess): Promise<void> {
  const predictions = await (await fetch(`${url}/emulator/predictions`)).json() as { id: string, status: string }[]
  const running = predictions.filter(({ status }) => status === 'processing' || status === 'starting')
  await Promise.all(running.map(({ id }) => postJson(`${url}/emulator/predictions/${id}/finish`, { status: 'succeeded' })))
}

async function isAnyOpen ({ url }: MeasuredProcess): Promise<boolean> {
  const { items } = await (await fetch(`${url}/video-status?status=processing&limit=1`)).json() as { items: unknown[] }
  return items.length > 0
}

async function videoOf ({ url }: MeasuredProcess, taskId: string): Promise<string> {
  return await until(async () => {
    const task = await (await fetch(`${url}/video-status/${taskId}`)).json() as { status: string, video_url: string | null }
    if (task.status === 'failed') throw new Error('The video failed')
    return task.status === 'completed' && task.video_url !== null ? task.video_url : undefined
  }, 'the video')
}

async function postJson (url: string, body: object): Promise<void> {
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
  await answer.arrayBuffer()
}

function presentRatios (ratios: number[]): string {
  return `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`
}
