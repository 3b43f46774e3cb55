import { setTimeout as delay } from 'node:timers/promises'
import type { Emulator } from '../replicate-emulator/emulator.ts'
import type { Chance } from './seeded-random.ts'
import type { Extra, Extras } from './extras.ts'

export interface ProviderTroubleOptions {
  emulator: Emulator
  chance: Chance
  extras: Extras
  /** Writes an event into the log. */
  tell: (event: string) => void
}

type Trouble = (typeof troubles)[number]['name']
const troubles = [
  { name: 'clock steps', extra: 'clock-steps' },
  { name: 'list lags', extra: 'list-lag' },
  { name: 'list maimed', extra: 'list-maimed' },
  { name: 'list alone broken', extra: 'list-broken' },
  { name: 'single reads alone broken', extra: 'list-broken' },
  { name: 'foreign predictions', extra: 'foreign' }
] as const satisfies Array<{ name: string, extra: Extra }>

/** Less than the five minutes within which a webhook is believed. */
const farthestSkewMs = 180_000
const lagMs = [500, 5_000] as const
const brokenForMs = [3_000, 8_000] as const
const foreignShare = 0.3

/** What Replicate does wrong beyond single calls: its clock, its list, and what its other clients do. */
export class ProviderTrouble {
  readonly counts = new Map<string, number>()
  readonly #options: ProviderTroubleOptions
  readonly #wanted: Trouble[]
  /** Every trouble comes once before any comes again. */
  #toCome: Trouble[] = []

  constructor (options: ProviderTroubleOptions) {
    this.#options = options
    this.#wanted = troubles.filter(({ extra }) => options.extras.has(extra)).map(({ name }) => name)
  }

  /** Whether any was asked for. */
  get isWanted (): boolean {
    return this.#wanted.length > 0
  }

  /** The next trouble. What is broken alone is well again when this resolves, whatever the signal says. */
  async strike (signal: AbortSignal): Promise<void> {
    if (this.#toCome.length === 0) this.#toCome = this.#options.chance.shuffled(this.#wanted)
    const trouble = this.#toCome.pop()
    if (trouble === undefined) return
    this.counts.set(trouble, (this.counts.get(trouble) ?? 0) + 1)
    switch (trouble) {
      case 'clock steps': return this.#stepClock()
      case 'list lags': return this.#delayList()
      case 'list maimed': return this.#maimList()
      case 'list alone broken': return await this.#breakAlone('list', signal)
      case 'single reads alone broken': return await this.#breakAlone('get', signal)
      case 'foreign predictions': return this.#letOthersIn()
    }
  }

  /** From here on all is well again, but for the clock: it stays wrong. */
  clear (): void {
    const { emulator } = this.#options
    Object.assign(emulator.settings, { listLagMs: 0, listShowsInput: true, listShowsWebhook: false })
    emulator.clearForeign()
  }

  #stepClock (): void {
    const { emulator, chance, tell } = this.#options
    emulator.clock.skewMs = Math.round(chance.between(-farthestSkewMs, farthestSkewMs))
    tell(`Replicate's clock is ${emulator.clock.skewMs} ms ahead`)
  }

  #delayList (): void {
    const { emulator, chance, tell } = this.#options
    emulator.settings.listLagMs = chance.happens(0.7) ? Math.round(chance.between(...lagMs)) : 0
    tell(`the list lags by ${emulator.settings.listLagMs} ms`)
  }

  #maimList (): void {
    const { emulator: { settings }, chance, tell } = this.#options
    Object.assign(settings, { listShowsInput: chance.happens(0.3), listShowsWebhook: chance.happens(0.5) })
    tell(`the list shows input: ${settings.listShowsInput}, webhook: ${settings.listShowsWebhook}`)
  }

  async #breakAlone (call: 'list' | 'get', signal: AbortSignal): Promise<void> {
    const { emulator, chance, tell } = this.#options
    const kind = chance.pick(['status', 'html', 'hang', 'reset_before'] as const)
    emulator.clearFaults()
    emulator.addFault({ call, kind, share: 1 })
    tell(`${call} alone is broken: ${kind}`)
    await delay(chance.between(...brokenForMs), undefined, { signal }).catch(() => undefined)
    emulator.clearFaults()
    tell(`${call} is well again`)
  }

  #letOthersIn (): void {
    const { emulator, chance, tell } = this.#options
    emulator.clearForeign()
    const share = chance.happens(0.7) ? foreignShare : 0
    emulator.addForeign({ share, ...(chance.happens(0.5) && { webhook: 'https://someone.invalid/hook' }) })
    tell(`foreign predictions accompany ${share} of the creates`)
  }
}
