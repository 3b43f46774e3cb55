import { pause } from '../harness/until.ts'
import type { Emulator } from '../replicate-emulator/emulator.ts'
import type { Fault } from '../replicate-emulator/fault.ts'
import type { Ending } from '../replicate-emulator/outcome.ts'
import type { OutputFile } from '../replicate-emulator/output-file.ts'
import type { Prediction } from '../replicate-emulator/prediction.ts'
import type { Extras } from './extras.ts'
import type { Span } from './plan.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface FileFaultsOptions {
  emulator: Emulator
  random: SeededRandom
  extras: Extras
  /** writes an event into the log */
  logEvent: (event: string) => void
}

type MakeFault = (random: SeededRandom) => Omit<Fault, 'call'>

/** None that says for certain that the file is gone or no video: no client could know that this is wrong. */
const downloadFaults: MakeFault[] = [
  (random) => ({ kind: 'malformed', bytes: random.pick([0, 20_000]), times: random.integer(1, 6) }),
  (random) => ({ kind: 'malformed', share: random.between(0.2, 0.8) }),
  () => ({ kind: 'stall', times: 1 }),
  (random) => ({ kind: 'slow', bytes_per_second: random.pick([50_000, 500_000]), times: random.integer(1, 4) }),
  (random) => ({ kind: 'status', status: random.pick([500, 503, 408]), share: random.between(0.5, 1) }),
  () => ({ kind: 'status', status: 429, retry_after: 1, times: 3 }),
  () => ({ kind: 'html', status: 502, times: 3 }),
  (random) => ({ kind: 'redirect', times: random.integer(1, 6) }),
  () => ({ kind: 'hang', times: 1 }),
  (random) => ({ kind: random.pick(['reset_before', 'reset_after']), share: 0.5 })
]
const thumbnailFaults: [Fault, ...Fault[]] = [
  { call: 'thumbnail', kind: 'status', status: 404, times: 2 },
  { call: 'thumbnail', kind: 'malformed', times: 2 },
  { call: 'thumbnail', kind: 'empty', times: 2 }
]

const noVideos: OutputFile[] = [
  { content: 'html' }, { content: 'json' }, { content: 'image', type: 'video/mp4' }, { content: 'noise', bytes: 50_000 }, { bytes: 500 }, { bytes: 0 }
]

const betweenFaultsMs: Span = [1_000, 3_000]
const clearedShare = 0.6
const noVideoShare = 0.08
const wipedShare = 0.08
const keptMs: Span = [0, 4_000]
/** Several chunks of a download, and several parts of an upload. */
const bytes = { usual: [20_000, 400_000], large: [18_000_000, 24_000_000] } satisfies Record<string, Span>
const largeShare = 0.02

export function isOfFile ({ call }: Fault): boolean {
  return call === 'file' || call === 'thumbnail'
}

/** Faults of Replicate's files: what is in them, how long they are kept, and their downloads. */
export class FileFaults {
  /** How many predictions had such a file. */
  readonly counts = new Map<string, number>()
  readonly #options: FileFaultsOptions
  /** Each kind occurs once before any occurs again. */
  #upcoming: MakeFault[] = []
  #upcomingNoVideos: OutputFile[] = []

  constructor (options: FileFaultsOptions) {
    this.#options = options
    options.emulator.log.changes.on('created', (prediction) => this.#varyFiles(prediction))
  }

  /** Injects faults of downloads until the signal. */
  async run (signal: AbortSignal): Promise<void> {
    const { emulator, random, extras } = this.#options
    if (!extras.has('downloads')) return
    while (!signal.aborted) {
      await pause(random.between(...betweenFaultsMs), signal)
      // Faults that are never cleared would add up until no download succeeds any more.
      if (random.happens(clearedShare)) this.#clear()
      if (!signal.aborted) this.#addFault()
    }
    this.#clear()
    emulator.settings.fileRanges = true
  }

  #addFault (): void {
    const { emulator, random, logEvent } = this.#options
    if (this.#upcoming.length === 0) this.#upcoming = random.shuffled(downloadFaults)
    const made = this.#upcoming.pop()?.(random)
    if (made === undefined) return
    emulator.settings.fileRanges = random.happens(0.8)
    const faults: Fault[] = [{ ...made, call: 'file' }]
    if (random.happens(0.3)) faults.push(random.pick(thumbnailFaults))
    for (const fault of faults) {
      emulator.addFault(fault)
      logEvent(`fault ${JSON.stringify(fault)}`)
    }
  }

  #clear (): void {
    this.#options.emulator.clearFaults(isOfFile)
    this.#options.logEvent('faults of downloads cleared')
  }

  #varyFiles (prediction: Prediction): void {
    if (prediction.ending.status !== 'succeeded') return
    const { random, extras } = this.#options
    const isNoVideo = extras.has('no-videos') && random.happens(noVideoShare)
    prediction.ending = { ...this.#randomOutput(), ...prediction.ending, video: isNoVideo ? this.#nextNoVideo() : this.#randomVideo() }
    if (!extras.has('wiped') || !random.happens(wipedShare)) return
    prediction.keptMs = Math.round(random.between(...keptMs))
    this.#count('wiped within seconds')
  }

  #randomOutput (): Pick<Ending, 'output'> {
    const { random } = this.#options
    if (random.happens(0.6)) return {}
    return { output: random.pick<unknown>([{ video: '$VIDEO', thumbnail: '$THUMBNAIL' }, ['$VIDEO', '$THUMBNAIL'], '$API_VIDEO']) }
  }

  #randomVideo (): OutputFile {
    const { random } = this.#options
    const isLarge = random.happens(largeShare)
    this.#count(isLarge ? 'large video' : 'video')
    return { bytes: Math.round(random.between(...bytes[isLarge ? 'large' : 'usual'])) }
  }

  #nextNoVideo (): OutputFile {
    if (this.#upcomingNoVideos.length === 0) this.#upcomingNoVideos = this.#options.random.shuffled(noVideos)
    const file = this.#upcomingNoVideos.pop() ?? {}
    this.#count(`no video: ${JSON.stringify(file)}`)
    return file
  }

  #count (name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
  }
}
