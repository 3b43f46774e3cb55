import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { MemoryReport } from './memory-reporter.ts'
import { startEmulator, startService } from './setup.ts'
import { SoakLoad } from './soak-load.ts'

/**
 * Keeps the service under a steady load and prints its memory over time, each sample after a forced garbage collection:
 * memory that still grows is kept for ever, or until a deadline. It ends by itself.
 */
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '9' },
    creates: { type: 'string', default: '25' },
    requests: { type: 'string', default: '90' }
  }
})
const [minutes, creates, requests] = [values.minutes, values.creates, values.requests].map(Number)
if (minutes === undefined || !(minutes >= 1.5 && minutes <= 60)) throw new Error('--minutes has to be 1.5 to 60')
if (creates === undefined || !(creates >= 1 && creates <= 100)) throw new Error('--creates, a second, has to be 1 to 100')
if (requests === undefined || !(requests >= 0 && requests <= 1_000)) throw new Error('--requests, a second, has to be 0 to 1000')

/** Caches fill up in this time: tasks that were read lately, compiled code, the pages of the database. */
const warmUpMs = Math.min(60_000, minutes * 20_000)
const sampleMs = 10_000
const generationMs = 2_000

interface Sample { minute: number, created: number, rss: number, heapUsed: number, external: number }

const emulator = await startEmulator(generationMs)
const service = await startService({ REPLICATE_POLL_INTERVAL_MS: '1000' }, 0, { flags: ['--expose-gc', '--import', './bench/memory-reporter.ts'], channel: 'ipc' })
const load = new SoakLoad(service.url, { creates, requests })
try {
  console.log(`${creates} creates and ${requests} other requests a second for ${minutes} minutes; MB after garbage collection`)
  const startedAt = performance.now()
  load.start()
  await delay(warmUpMs)
  const samples: Sample[] = []
  for (let at = performance.now(); at - startedAt < minutes * 60_000; at = performance.now()) {
    const { rss, heapUsed, external } = await service.process.ask<MemoryReport>('memory')
    const sample = { minute: (at - startedAt) / 60_000, created: load.created, rss: megabytes(rss), heapUsed: megabytes(heapUsed), external: megabytes(external) }
    samples.push(sample)
    console.log(`${sample.minute.toFixed(1)} min  ${sample.created} tasks  resident ${sample.rss.toFixed(1)}  heap ${sample.heapUsed.toFixed(2)}  external ${sample.external.toFixed(2)}`)
    await delay(Math.max(0, sampleMs - (performance.now() - at)))
  }
  await load.stop()
  report(samples)
} finally {
  await load.stop()
  await service.stop()
  await emulator.stop()
}

function report (samples: Sample[]): void {
  const figures = (['rss', 'heapUsed', 'external'] as const).map((member) => [member, {
    'first MB': samples[0]?.[member].toFixed(1),
    'last MB': samples.at(-1)?.[member].toFixed(1),
    'MB a minute': slope(samples.map((sample) => [sample.minute, sample[member]])).toFixed(2),
    'bytes a task': (slope(samples.map((sample) => [sample.created, sample[member]])) * 1024 * 1024).toFixed(0)
  }])
  console.table(Object.fromEntries(figures))
  console.log(`${load.answered} answers, failed requests: ${JSON.stringify(load.failures)}; CPU ${(service.process.cpuMs() / 1_000).toFixed(0)} s`)
}

/** The slope of the line that is closest to all points (least squares). */
function slope (points: Array<[number, number]>): number {
  const mean = (pick: (point: [number, number]) => number) => points.reduce((sum, point) => sum + pick(point), 0) / points.length
  const [meanX, meanY] = [mean(([x]) => x), mean(([, y]) => y)]
  return mean(([x, y]) => (x - meanX) * (y - meanY)) / mean(([x]) => (x - meanX) ** 2)
}

function megabytes (bytes: number): number {
  return bytes / 1024 / 1024
}
