import { randomBytes } from 'node:crypto'
import type { CreateRequest } from './create-request.ts'
import { DistortionSchema, type Distortion } from './distortion.ts'
import { FaultSchema, type Call, type Fault } from './fault.ts'
import { ageDifference, ForeignSchema, type Foreign, type ForeignPrediction } from './foreign.ts'
import { OutcomeSchema, type Ending, type Outcome } from './outcome.ts'
import { PredictionFiles } from './prediction-files.ts'
import { PredictionLog, type Timing } from './prediction-log.ts'
import { isWiped, showPrediction, type Prediction, type PredictionView } from './prediction.ts'
import { seededRandom, type Random } from './random.ts'
import { Script } from './script.ts'
import { defaultSettings, startingTime, type Settings } from './settings.ts'
import { SkewedClock } from './skewed-clock.ts'
import { TimerQueue } from './timer-queue.ts'
import { SampleVideo } from './video/sample-video.ts'
import { VideoRenderer } from './video/video-renderer.ts'
import { WebhookSender } from './webhook-sender.ts'

export interface EmulationOptions extends Partial<Settings> {
  webhookSecret?: string
  seed?: number
  now?: () => number
  /** How far its clock, as clients see it, is ahead of `now`, in ms. */
  clockSkewMs?: number
  /** All videos show the same picture instead of the dream, which takes no CPU time. */
  sampleVideos?: boolean
}

/**
 * The state of the emulated Replicate: predictions, webhooks, and the scripts of faults. It does not speak HTTP to clients;
 * the routes do. Tests in the same process use it as `app.emulator`.
 */
export class Emulator {
  readonly settings: Settings
  readonly webhookSecret: string
  /** The calls that it has received, also those with a fault. */
  readonly calls: Record<Call, number>
  /** The true time, by which everything happens. */
  readonly now: () => number
  /** The time as clients see it. */
  readonly clock: SkewedClock
  readonly timers: TimerQueue
  readonly log: PredictionLog
  readonly files: PredictionFiles
  readonly faults: Script<Fault>
  readonly outcomes: Script<Outcome>
  readonly distortions: Script<Distortion>
  readonly foreign: Script<Foreign>
  readonly webhooks: WebhookSender
  readonly #random: Random

  constructor ({ webhookSecret, seed, now = Date.now, clockSkewMs = 0, sampleVideos = false, ...settings }: EmulationOptions = {}) {
    this.settings = { ...defaultSettings, ...settings }
    this.webhookSecret = webhookSecret ?? `whsec_${randomBytes(32).toString('base64')}`
    this.calls = { create: 0, get: 0, list: 0, cancel: 0, account: 0, secret: 0, file: 0, thumbnail: 0 }
    this.now = now
    this.clock = new SkewedClock(now, clockSkewMs)
    this.log = new PredictionLog(this.clock)
    this.files = new PredictionFiles(sampleVideos ? new SampleVideo() : new VideoRenderer())
    this.#random = seededRandom(seed ?? randomBytes(4).readUInt32LE())
    this.faults = new Script(FaultSchema, this.#random)
    this.outcomes = new Script(OutcomeSchema, this.#random)
    this.distortions = new Script(DistortionSchema, this.#random)
    this.foreign = new Script(ForeignSchema, this.#random)
    this.timers = new TimerQueue(now)
    this.webhooks = new WebhookSender({ timers: this.timers, now, clock: this.clock, secret: this.webhookSecret })
    this.log.changes.setMaxListeners(0)
    this.log.changes.on('created', (prediction) => this.webhooks.scheduleEvents(prediction))
    this.log.changes.on('ended', (prediction) => this.webhooks.complete(prediction))
  }

  /** Every prediction ever made, as the API would show it now, in order of creation. */
  get predictions (): PredictionView[] {
    const now = this.now()
    return this.log.all.map((prediction) => showPrediction(prediction, now))
  }

  /** Appends a fault to the script. Throws a TypeError if it does not match `FaultSchema`. */
  addFault (fault: Fault): void {
    this.faults.add(fault)
  }

  /** Removes the faults that match from the script; all of them by default. */
  clearFaults (matches?: (fault: Fault) => boolean): void {
    this.faults.clear(matches)
  }

  /** Sets how the next predictions end. Throws a TypeError if it does not match `OutcomeSchema`. */
  addOutcome (outcome: Outcome): void {
    this.outcomes.add(outcome)
  }

  clearOutcomes (): void {
    this.outcomes.clear()
  }

  /** Sets which members the next predictions show wrongly. Throws a TypeError if it does not match `DistortionSchema`. */
  addDistortion (distortion: Distortion): void {
    this.distortions.add(distortion)
  }

  clearDistortions (): void {
    this.distortions.clear()
  }

  /** Sets with which creates another client makes a prediction as well. Throws a TypeError if it does not match `ForeignSchema`. */
  addForeign (foreign: Foreign): void {
    this.foreign.add(foreign)
  }

  clearForeign (): void {
    this.foreign.clear()
  }

  create (request: CreateRequest, origin: string): Prediction {
    const prediction = this.log.create({
      request, origin, at: this.now(), timing: this.#timing(), ending: this.outcomes.take(), distortion: this.distortions.take()
    })
    const foreign = this.foreign.take()
    if (foreign !== undefined) this.makeForeign(prediction, foreign)
    return prediction
  }

  /**
   * Makes a prediction of the same model and input, as another client would. If its time of creation is in the future, it is
   * made then, and `undefined` is returned.
   */
  makeForeign (imitated: Template, foreign: ForeignPrediction = {}): Prediction | undefined {
    const at = (imitated.createdAt ?? this.now()) + ageDifference(foreign, this.#random)
    const make = () => this.log.create({ request: foreignRequest(imitated, foreign), origin: imitated.origin, at, timing: this.#timing(), isForeign: true })
    if (at <= this.now()) return make()
    this.timers.schedule(at, make)
    return undefined
  }

  /**
   * Removes what Replicate keeps for an hour after the end: input, output, logs and files of these predictions, as far as they have
   * ended. @returns of how many
   */
  wipe (predictions = this.log.all): number {
    const now = this.now()
    const wiped = predictions.filter((prediction) => now >= prediction.endsAt && !isWiped(prediction, now))
    for (const prediction of wiped) prediction.keptMs = now - prediction.endsAt
    return wiped.length
  }

  /** Ends a prediction now. @returns false if it had ended already */
  end (prediction: Prediction, ending: Ending): boolean {
    return this.log.end(prediction, ending, this.now())
  }

  /** Takes the fault of this call from the script, if there is one. @param id  of the prediction that the call names */
  faultFor (call: Call, id?: string): Fault | undefined {
    return this.faults.take((fault) => (fault.call === 'any' || fault.call === call) && (fault.id === undefined || fault.id === id))
  }

  /** Resolves when a prediction has ended or `ms` have passed. */
  async waitForEnd (prediction: Prediction, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const onEnded = (ended: Prediction) => { if (ended === prediction) resolve() }
    this.log.changes.on('ended', onEnded)
    this.timers.schedule(Math.min(prediction.endsAt, this.now() + ms), resolve)
    await promise
    this.log.changes.off('ended', onEnded)
  }

  async close (): Promise<void> {
    this.timers.stop()
    await Promise.all([this.webhooks.close(), this.files.close()])
  }

  #timing (): Timing {
    const { generationMs, keptMs } = this.settings
    return { startingMs: startingTime(this.settings), generationMs, keptMs }
  }
}

/** The prediction that a foreign one imitates: one that was made, or one that could be made now. */
type Template = Pick<Prediction, 'model' | 'version' | 'input' | 'origin'> & Partial<Pick<Prediction, 'createdAt'>>

function foreignRequest ({ model, version, input }: Template, { webhook }: ForeignPrediction): CreateRequest {
  return { model, version, input, webhook, webhookEvents: undefined, cancelAfterMs: undefined }
}
