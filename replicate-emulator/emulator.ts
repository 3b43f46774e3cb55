import { randomBytes } from 'node:crypto'
import { Agenda } from './timer-queue.ts'
import { DistortionSchema, type Distortion } from './distortion.ts'
import { FaultSchema, type Call, type Fault } from './fault.ts'
import { ageDifference, ForeignSchema, type Foreign, type ForeignPrediction } from './foreign.ts'
import { OutcomeSchema, type Ending, type Outcome } from './outcome.ts'
import { isWiped, showPrediction, type Prediction, type PredictionView } from './prediction.ts'
import { PredictionLog, type Pace } from './prediction-log.ts'
import { seededRandom, type Random } from './random.ts'
import { Script } from './script.ts'
import { defaultSettings, startingTime, type Settings } from './settings.ts'
import { ShownClock } from './skewed-clock.ts'
import { WebhookSender } from './webhook-sender.ts'
import type { CreateRequest } from './create-request.ts'

export interface EmulationOptions extends Partial<Settings> {
  webhookSecret?: string
  seed?: number
  now?: () => number
  /** How far the clock that it shows is ahead of `now`, in ms. */
  clockSkewMs?: number
}

/**
 * Replicate in one object: its predictions, its webhooks, and what it has been told to do wrong. Nothing in it speaks
 * HTTP to clients; the routes do. Tests in the same process reach it as `app.emulator`.
 */
export class Emulator {
  readonly settings: Settings
  readonly webhookSecret: string
  /** Calls received, also those that a fault then broke. */
  readonly calls: Record<Call, number>
  /** The true time: what is to happen goes by it. */
  readonly now: () => number
  /** The time that clients are shown. */
  readonly clock: ShownClock
  readonly agenda: Agenda
  readonly log: PredictionLog
  readonly faults: Script<Fault>
  readonly outcomes: Script<Outcome>
  readonly distortions: Script<Distortion>
  readonly foreign: Script<Foreign>
  readonly webhooks: WebhookSender
  readonly #random: Random

  constructor ({ webhookSecret, seed, now = Date.now, clockSkewMs = 0, ...settings }: EmulationOptions = {}) {
    this.settings = { ...defaultSettings, ...settings }
    this.webhookSecret = webhookSecret ?? `whsec_${randomBytes(32).toString('base64')}`
    this.calls = { create: 0, get: 0, list: 0, cancel: 0, account: 0, secret: 0, file: 0 }
    this.now = now
    this.clock = new ShownClock(now, clockSkewMs)
    this.log = new PredictionLog(this.clock)
    this.#random = seededRandom(seed ?? randomBytes(4).readUInt32LE())
    this.faults = new Script(FaultSchema, this.#random)
    this.outcomes = new Script(OutcomeSchema, this.#random)
    this.distortions = new Script(DistortionSchema, this.#random)
    this.foreign = new Script(ForeignSchema, this.#random)
    this.agenda = new Agenda(now)
    this.webhooks = new WebhookSender({ agenda: this.agenda, now, clock: this.clock, secret: this.webhookSecret })
    this.log.changes.setMaxListeners(0)
    this.log.changes.on('created', (prediction) => this.webhooks.follow(prediction))
    this.log.changes.on('ended', (prediction) => this.webhooks.complete(prediction))
  }

  /** Every prediction ever made, as the API would show it now, in order of creation. */
  get predictions (): PredictionView[] {
    const now = this.now()
    return this.log.all.map((prediction) => showPrediction(prediction, now))
  }

  /** Appends a fault to the script. Throws a TypeError for one that does not fit `FaultSchema`. */
  addFault (fault: Fault): void {
    this.faults.add(fault)
  }

  clearFaults (): void {
    this.faults.clear()
  }

  /** Says how the next predictions are to end. Throws a TypeError for one that does not fit `OutcomeSchema`. */
  addOutcome (outcome: Outcome): void {
    this.outcomes.add(outcome)
  }

  clearOutcomes (): void {
    this.outcomes.clear()
  }

  /** Says what the next predictions show wrongly of themselves. Throws a TypeError for one that does not fit `DistortionSchema`. */
  addDistortion (distortion: Distortion): void {
    this.distortions.add(distortion)
  }

  clearDistortions (): void {
    this.distortions.clear()
  }

  /** Says which creates another client's prediction accompanies. Throws a TypeError for one that does not fit `ForeignSchema`. */
  addForeign (foreign: Foreign): void {
    this.foreign.add(foreign)
  }

  clearForeign (): void {
    this.foreign.clear()
  }

  create (request: CreateRequest, origin: string): Prediction {
    const prediction = this.log.create({
      request, origin, at: this.now(), pace: this.#pace(), ending: this.outcomes.take(), distortion: this.distortions.take()
    })
    const foreign = this.foreign.take()
    if (foreign !== undefined) this.makeForeign(prediction, foreign)
    return prediction
  }

  /**
   * Makes a prediction of the same model and input as another client would. One that is to be younger than `imitated` by
   * more than has passed since then comes when it is due, and `undefined` is returned.
   */
  makeForeign (imitated: Imitated, foreign: ForeignPrediction = {}): Prediction | undefined {
    const at = (imitated.createdAt ?? this.now()) + ageDifference(foreign, this.#random)
    const make = () => this.log.create({ request: foreignRequest(imitated, foreign), origin: imitated.origin, at, pace: this.#pace(), isForeign: true })
    if (at <= this.now()) return make()
    this.agenda.at(at, make)
    return undefined
  }

  /** Removes now what Replicate keeps for an hour after the end: input, output, logs and file of all that have ended. @returns how many */
  wipe (): number {
    const now = this.now()
    const wiped = this.log.all.filter((prediction) => now >= prediction.endsAt && !isWiped(prediction, now))
    for (const prediction of wiped) prediction.keptMs = now - prediction.endsAt
    return wiped.length
  }

  /** Ends a prediction now; false where it had ended already. */
  end (prediction: Prediction, ending: Ending): boolean {
    return this.log.end(prediction, ending, this.now())
  }

  /** The fault that is to break this call, if any. @param id  of the prediction that the call names */
  faultFor (call: Call, id?: string): Fault | undefined {
    return this.faults.take((fault) => (fault.call === 'any' || fault.call === call) && (fault.id === undefined || fault.id === id))
  }

  /** Resolves when a prediction has ended or `ms` have passed. */
  async waitForEnd (prediction: Prediction, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const onEnded = (ended: Prediction) => { if (ended === prediction) resolve() }
    this.log.changes.on('ended', onEnded)
    this.agenda.at(Math.min(prediction.endsAt, this.now() + ms), resolve)
    await promise
    this.log.changes.off('ended', onEnded)
  }

  async close (): Promise<void> {
    this.agenda.stop()
    await this.webhooks.close()
  }

  #pace (): Pace {
    const { generationMs, keptMs } = this.settings
    return { startingMs: startingTime(this.settings), generationMs, keptMs }
  }
}

/** What a foreign prediction is like: one that was made, or that might have been made now. */
type Imitated = Pick<Prediction, 'model' | 'version' | 'input' | 'origin'> & Partial<Pick<Prediction, 'createdAt'>>

function foreignRequest ({ model, version, input }: Imitated, { webhook }: ForeignPrediction): CreateRequest {
  return { model, version, input, webhook, webhookEvents: undefined, cancelAfterMs: undefined }
}
