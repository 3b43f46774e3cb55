import { randomBytes } from 'node:crypto'
import { Agenda } from './agenda.ts'
import { FaultSchema, type Call, type Fault } from './fault.ts'
import { OutcomeSchema, type Ending, type Outcome } from './outcome.ts'
import { showPrediction, type Prediction, type PredictionView } from './prediction.ts'
import { PredictionLog } from './prediction-log.ts'
import { seededRandom } from './random.ts'
import { Script } from './script.ts'
import { defaultSettings, startingTime, type Settings } from './settings.ts'
import { WebhookSender } from './webhook-sender.ts'
import type { CreateRequest } from './create-request.ts'

export interface EmulationOptions extends Partial<Settings> {
  webhookSecret?: string
  seed?: number
  now?: () => number
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
  readonly now: () => number
  readonly agenda: Agenda
  readonly log = new PredictionLog()
  readonly faults: Script<Fault>
  readonly outcomes: Script<Outcome>
  readonly webhooks: WebhookSender

  constructor ({ webhookSecret, seed, now = Date.now, ...settings }: EmulationOptions = {}) {
    this.settings = { ...defaultSettings, ...settings }
    this.webhookSecret = webhookSecret ?? `whsec_${randomBytes(32).toString('base64')}`
    this.calls = { create: 0, get: 0, list: 0, cancel: 0, account: 0, secret: 0, file: 0 }
    this.now = now
    const random = seededRandom(seed ?? randomBytes(4).readUInt32LE())
    this.faults = new Script(FaultSchema, random)
    this.outcomes = new Script(OutcomeSchema, random)
    this.agenda = new Agenda(now)
    this.webhooks = new WebhookSender({ agenda: this.agenda, now, secret: this.webhookSecret })
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

  create (request: CreateRequest, origin: string): Prediction {
    const pace = { startingMs: startingTime(this.settings), generationMs: this.settings.generationMs }
    return this.log.create(request, origin, this.now(), pace, this.outcomes.take())
  }

  /** Ends a prediction now; false where it had ended already. */
  end (prediction: Prediction, ending: Ending): boolean {
    return this.log.end(prediction, ending, this.now())
  }

  /** The fault that is to break this call, if any. */
  faultFor (call: Call): Fault | undefined {
    return this.faults.take((fault) => fault.call === 'any' || fault.call === call)
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
}
