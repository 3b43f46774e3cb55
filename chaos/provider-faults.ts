import { pause } from '../harness/until.ts'
import type { Emulator } from '../replicate-emulator/emulator.ts'
import type { Extra, Extras } from './extras.ts'
import { isOfFile } from './file-faults.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface ProviderFaultsOptions {
  emulator: Emulator
  random: SeededRandom
  extras: Extras
  /** whether a process of the service is frozen */
  isFrozen: () => boolean
  /** writes an event into the log */
  logEvent: (event: string) => void
}

type ProviderFault = (typeof providerFaults)[number]['name']
const providerFaults = [
  { name: 'clock steps', extra: 'clock-steps' },
  { name: 'list lags', extra: 'list-lag' },
  { name: 'list maimed', extra: 'list-maimed' },
  { name: 'list alone broken', extra: 'list-broken' },
  { name: 'single reads alone broken', extra: 'list-broken' },
  { name: 'foreign predictions', extra: 'foreign' }
] as const satisfies Array<{ name: string, extra: Extra }>

/** Less than the five minutes within which a webhook is accepted. */
const maxSkewMs = 180_000
const lagMs = [500, 5_000] as const
const brokenForMs = [3_000, 8_000] as const
const foreignShare = 0.3

/** Faults of Replicate beyond single calls: its clock, its list, and predictions of other clients. */
export class ProviderFaults {
  readonly counts = new Map<string, number>()
  readonly #options: ProviderFaultsOptions
  readonly #enabled: ProviderFault[]
  /** Each fault occurs once before any occurs again. */
  #upcoming: ProviderFault[] = []

  constructor (options: ProviderFaultsOptions) {
    this.#options = options
    this.#enabled = providerFaults.filter(({ extra }) => options.extras.has(extra)).map(({ name }) => name)
  }

  get isEnabled (): boolean {
    return this.#enabled.length > 0
  }

  /** Injects the next fault. A list or read that it breaks works again when this resolves, also after an abort. */
  async injectNext (signal: AbortSignal): Promise<void> {
    if (this.#upcoming.length === 0) this.#upcoming = this.#options.random.shuffled(this.#enabled)
    const fault = this.#upcoming.pop()
    if (fault === undefined) return
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1)
    switch (fault) {
      case 'clock steps': return this.#stepClock()
      case 'list lags': return this.#delayList()
      case 'list maimed': return this.#stripList()
      case 'list alone broken': return await this.#breakAlone('list', signal)
      case 'single reads alone broken': return await this.#breakAlone('get', signal)
      case 'foreign predictions': return this.#setForeignShare()
    }
  }

  /** Ends all faults except for the clock, which keeps its offset. */
  clear (): void {
    const { emulator } = this.#options
    Object.assign(emulator.settings, { listLagMs: 0, listShowsInput: true, listShowsWebhook: false })
    emulator.clearForeign()
  }

  /** The service learns of a step with the next answer. A process that is frozen gets none, and may create predictions before. */
  #stepClock (): void {
    const { emulator, random, isFrozen, logEvent } = this.#options
    if (isFrozen()) return logEvent('Replicate’s clock does not step: a process is frozen')
    emulator.clock.skewMs = Math.round(random.between(-maxSkewMs, maxSkewMs))
    logEvent(`Replicate's clock is ${emulator.clock.skewMs} ms ahead`)
  }

  #delayList (): void {
    const { emulator, random, logEvent } = this.#options
    emulator.settings.listLagMs = random.happens(0.7) ? Math.round(random.between(...lagMs)) : 0
    logEvent(`the list lags by ${emulator.settings.listLagMs} ms`)
  }

  #stripList (): void {
    const { emulator: { settings }, random, logEvent } = this.#options
    Object.assign(settings, { listShowsInput: random.happens(0.3), listShowsWebhook: random.happens(0.5) })
    logEvent(`the list shows input: ${settings.listShowsInput}, webhook: ${settings.listShowsWebhook}`)
  }

  async #breakAlone (call: 'list' | 'get', signal: AbortSignal): Promise<void> {
    const { emulator, random, logEvent } = this.#options
    const kind = random.pick(['status', 'html', 'hang', 'reset_before'] as const)
    const clear = () => emulator.clearFaults((fault) => !isOfFile(fault))
    clear()
    emulator.addFault({ call, kind, share: 1 })
    logEvent(`${call} alone is broken: ${kind}`)
    await pause(random.between(...brokenForMs), signal)
    clear()
    logEvent(`${call} works again`)
  }

  #setForeignShare (): void {
    const { emulator, random, logEvent } = this.#options
    emulator.clearForeign()
    const share = random.happens(0.7) ? foreignShare : 0
    emulator.addForeign({ share, ...(random.happens(0.5) && { webhook: 'https://other-client.invalid/hook' }) })
    logEvent(`foreign predictions accompany ${share} of the creates`)
  }
}
