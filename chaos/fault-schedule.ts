import { setTimeout as delay } from 'node:timers/promises'
import type { Emulator } from '../replicate-emulator/emulator.ts'
import type { Fault } from '../replicate-emulator/fault.ts'
import type { Outcome } from '../replicate-emulator/outcome.ts'
import type { Chance } from './seeded-random.ts'
import type { Extras } from './extras.ts'
import { ProviderTrouble } from './provider-faults.ts'

/** The calls that a fault is for; the create is the one that costs. */
const calls = ['create', 'create', 'create', 'get', 'get', 'list', 'list', 'cancel', 'secret', 'any', 'any'] as const

/**
 * What a call can meet. Never an answer that claims a certain refusal (a 4xx but 408) of a create that had its effect:
 * no client could tell that from the truth.
 */
const afflictions: Afflict[] = [
  (chance) => ({ kind: 'status', status: chance.pick([500, 502, 503, 408]) }),
  (chance) => ({ kind: 'status', status: chance.pick([500, 502, 503, 408]), after: true }),
  () => ({ kind: 'status', status: 429, retry_after: 1 }),
  (chance) => ({ kind: 'status', status: 402, times: chance.integer(1, 3) }),
  (chance) => ({ kind: 'html', status: chance.pick([500, 502]), after: chance.happens(0.5) }),
  (chance) => ({ kind: 'hang', after: chance.happens(0.5) }),
  () => ({ kind: 'reset_before' }),
  () => ({ kind: 'reset_after' }),
  () => ({ kind: 'malformed' }),
  () => ({ kind: 'empty' }),
  (chance) => ({ kind: 'slow', ms: chance.pick([500, 2_000, 17_000]) })
]

type Affliction = Omit<Fault, 'call'>
type Afflict = (chance: Chance) => Affliction

const outcomes: [Outcome, ...Outcome[]] = [
  { status: 'failed', error: 'The input or output was flagged as sensitive. (E005)' },
  { status: 'failed', error: 'CUDA out of memory (E1001)' },
  { status: 'failed' },
  { status: 'canceled' },
  { status: 'aborted' },
  { status: 'succeeded', output: null },
  { status: 'succeeded', output: 'no address at all' },
  { status: 'succeeded', output: ['$VIDEO'] },
  { status: 'succeeded', progress: true }
]

export interface WeatherOptions {
  emulator: Emulator
  chance: Chance
  extras: Extras
  /** Writes an event into the log. */
  tell: (event: string) => void
}

/** Of the changes of the weather that are a trouble beyond single calls, where any is wanted. */
const widerShare = 0.5

/** What Replicate does wrong, at random: faults of single calls, short outages, and generations that end in every way. */
export class Weather {
  /** Calls that were broken, by kind. */
  readonly struck = new Map<string, number>()
  readonly wider: ProviderTrouble
  readonly #emulator
  readonly #chance
  readonly #tell
  /** Every kind comes once before any comes again. */
  #toCome: Afflict[] = []

  constructor ({ emulator, chance, extras, tell }: WeatherOptions) {
    this.#emulator = emulator
    this.#chance = chance
    this.#tell = tell
    this.wider = new ProviderTrouble({ emulator, chance, extras, tell })
    this.#countFaults()
    this.#varyPace()
  }

  /** Until the signal; the sky is clear afterwards. */
  async blow (signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await delay(this.#chance.between(1_000, 3_000), undefined, { signal }).catch(() => undefined)
      if (!signal.aborted) await this.#change(signal)
    }
    this.#clear()
    this.#emulator.clearOutcomes()
    this.wider.clear()
  }

  async #change (signal: AbortSignal): Promise<void> {
    // What is not cleared adds up until nothing gets through any more.
    if (this.#chance.happens(0.5)) this.#clear()
    if (this.wider.isWanted && this.#chance.happens(widerShare)) return await this.wider.strike(signal)
    if (this.#chance.happens(0.08)) return await this.#outage(signal)
    this.#afflict()
    if (this.#chance.happens(0.5)) this.#afflict()
    this.#emulator.addOutcome({ ...this.#chance.pick(outcomes), times: this.#chance.integer(1, 4) })
  }

  #afflict (): void {
    if (this.#toCome.length === 0) this.#toCome = this.#chance.shuffled(afflictions)
    const affliction = this.#toCome.pop()?.(this.#chance)
    if (affliction === undefined) return
    const fault = { ...this.#turn(), ...affliction, call: this.#chance.pick(calls) }
    this.#emulator.addFault(fault)
    this.#tell(`fault ${JSON.stringify(fault)}`)
  }

  #clear (): void {
    this.#emulator.clearFaults()
    this.#tell('faults cleared')
  }

  async #outage (signal: AbortSignal): Promise<void> {
    this.#clear()
    this.#emulator.addFault({ call: 'any', kind: 'reset_before', share: 1 })
    this.#tell('outage')
    await delay(this.#chance.between(2_000, 4_000), undefined, { signal }).catch(() => undefined)
    this.#clear()
  }

  #turn (): { times: number } | { share: number } {
    return this.#chance.happens(0.5) ? { times: this.#chance.integer(1, 5) } : { share: this.#chance.between(0.1, 0.6) }
  }

  #countFaults (): void {
    const faultFor = this.#emulator.faultFor.bind(this.#emulator)
    this.#emulator.faultFor = (call, id) => {
      const fault = faultFor(call, id)
      if (fault !== undefined) this.#count(fault)
      return fault
    }
  }

  #count ({ kind, status, after }: Fault): void {
    const name = [kind, status, after === true ? 'after the effect' : undefined].filter(Boolean).join(' ')
    this.struck.set(name, (this.struck.get(name) ?? 0) + 1)
  }

  /** Each prediction takes a time of its own. */
  #varyPace (): void {
    const vary = () => { this.#emulator.settings.generationMs = Math.round(this.#chance.between(200, 3_000)) }
    this.#emulator.log.changes.on('created', vary)
    vary()
  }
}
