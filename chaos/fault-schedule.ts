import { pause } from '../harness/until.ts'
import type { Emulator } from '../replicate-emulator/emulator.ts'
import type { Fault } from '../replicate-emulator/fault.ts'
import type { Outcome } from '../replicate-emulator/outcome.ts'
import type { Extras } from './extras.ts'
import { isOfFile } from './file-faults.ts'
import { ProviderFaults } from './provider-faults.ts'
import type { SeededRandom } from './seeded-random.ts'

/** The calls that faults apply to, more often to the create because it costs money. */
const apiCalls = ['create', 'create', 'create', 'get', 'get', 'list', 'list', 'cancel', 'secret'] as const
const calls = [...apiCalls, 'any', 'any'] as const

/**
 * The faults of single calls. No create that had its effect is answered with a definite refusal (a 4xx other than 408): no
 * client could know that the answer is wrong.
 */
const callFaults: MakeFault[] = [
  (random) => ({ kind: 'status', status: random.pick([500, 502, 503, 408]) }),
  (random) => ({ kind: 'status', status: random.pick([500, 502, 503, 408]), after: true }),
  () => ({ kind: 'status', status: 429, retry_after: 1 }),
  (random) => ({ kind: 'status', status: 402, times: random.integer(1, 3) }),
  (random) => ({ kind: 'html', status: random.pick([500, 502]), after: random.happens(0.5) }),
  (random) => ({ kind: 'hang', after: random.happens(0.5) }),
  () => ({ kind: 'reset_before' }),
  () => ({ kind: 'reset_after' }),
  () => ({ kind: 'malformed' }),
  () => ({ kind: 'empty' }),
  (random) => ({ kind: 'slow', ms: random.pick([500, 2_000, 17_000]) })
]

type MakeFault = (random: SeededRandom) => Omit<Fault, 'call'>

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

export interface FaultScheduleOptions {
  emulator: Emulator
  random: SeededRandom
  extras: Extras
  /** whether a process of the service is frozen */
  isFrozen: () => boolean
  /** writes an event into the log */
  logEvent: (event: string) => void
}

/** The share of the changes that are a fault beyond single calls, if any of these is enabled. */
const providerFaultShare = 0.5

/** Injects random faults into the emulator: faults of single calls, short outages, and every end of a prediction. */
export class FaultSchedule {
  /** How many calls had a fault, by its kind. */
  readonly injected = new Map<string, number>()
  readonly providerFaults: ProviderFaults
  readonly #emulator
  readonly #random
  readonly #logEvent
  /** Each kind occurs once before any occurs again. */
  #upcoming: MakeFault[] = []

  constructor ({ emulator, random, extras, isFrozen, logEvent }: FaultScheduleOptions) {
    this.#emulator = emulator
    this.#random = random
    this.#logEvent = logEvent
    this.providerFaults = new ProviderFaults({ emulator, random, extras, isFrozen, logEvent })
    this.#countFaults()
    this.#varyTiming()
  }

  /** Injects faults until the signal, and ends all of them afterwards. */
  async run (signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(this.#random.between(1_000, 3_000), signal)
      if (!signal.aborted) await this.#change(signal)
    }
    this.#clear()
    this.#emulator.clearOutcomes()
    this.providerFaults.clear()
  }

  async #change (signal: AbortSignal): Promise<void> {
    // Faults that are never cleared would add up until no call succeeds any more.
    if (this.#random.happens(0.5)) this.#clear()
    if (this.providerFaults.isEnabled && this.#random.happens(providerFaultShare)) return await this.providerFaults.injectNext(signal)
    if (this.#random.happens(0.08)) return await this.#outage(signal)
    this.#addFault()
    if (this.#random.happens(0.5)) this.#addFault()
    this.#emulator.addOutcome({ ...this.#random.pick(outcomes), times: this.#random.integer(1, 4) })
  }

  #addFault (): void {
    if (this.#upcoming.length === 0) this.#upcoming = this.#random.shuffled(callFaults)
    const made = this.#upcoming.pop()?.(this.#random)
    if (made === undefined) return
    // A download that is empty looks like a file that is no video.
    const call = this.#random.pick(made.kind === 'empty' ? apiCalls : calls)
    const fault = { ...this.#repetition(), ...made, call }
    this.#emulator.addFault(fault)
    this.#logEvent(`fault ${JSON.stringify(fault)}`)
  }

  #clear (): void {
    this.#emulator.clearFaults((fault) => !isOfFile(fault))
    this.#logEvent('faults cleared')
  }

  async #outage (signal: AbortSignal): Promise<void> {
    this.#clear()
    this.#emulator.addFault({ call: 'any', kind: 'reset_before', share: 1 })
    this.#logEvent('outage')
    await pause(this.#random.between(2_000, 4_000), signal)
    this.#clear()
  }

  #repetition (): { times: number } | { share: number } {
    return this.#random.happens(0.5) ? { times: this.#random.integer(1, 5) } : { share: this.#random.between(0.1, 0.6) }
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
    this.injected.set(name, (this.injected.get(name) ?? 0) + 1)
  }

  /** Gives each prediction another duration. */
  #varyTiming (): void {
    const setDuration = () => { this.#emulator.settings.generationMs = Math.round(this.#random.between(200, 3_000)) }
    this.#emulator.log.changes.on('created', setDuration)
    setDuration()
  }
}
