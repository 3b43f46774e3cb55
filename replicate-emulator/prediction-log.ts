import { EventEmitter } from 'node:events'
import type { CreateRequest } from './create-request.ts'
import type { PredictionDistortion } from './distortion.ts'
import { success, type Ending } from './outcome.ts'
import { newPredictionId, type Prediction } from './prediction.ts'
import type { SkewedClock } from './skewed-clock.ts'

/** The durations of a new prediction, in milliseconds from its creation; `keptMs` is from its end. */
export interface Timing {
  startingMs: number
  generationMs: number
  keptMs: number
}

export interface NewPrediction {
  request: CreateRequest
  origin: string
  /** The true time of the creation. */
  at: number
  timing: Timing
  ending?: Ending | undefined
  distortion?: PredictionDistortion | undefined
  isForeign?: boolean
}

interface Changes {
  created: [Prediction]
  /** The end was moved forward to now. */
  ended: [Prediction]
}

/** Every prediction ever made. */
export class PredictionLog {
  readonly changes = new EventEmitter<Changes>()
  readonly #clock: SkewedClock
  readonly #all: Prediction[] = []
  readonly #byCreation: Prediction[] = []
  readonly #byId = new Map<string, Prediction>()

  constructor (clock: SkewedClock) {
    this.#clock = clock
  }

  /** In the order in which they were made. */
  get all (): readonly Prediction[] {
    return this.#all
  }

  /** By the time of creation that clients see: another order only if the clock has stepped or other clients made some. */
  get byCreation (): readonly Prediction[] {
    return this.#byCreation
  }

  find (id: string): Prediction | undefined {
    return this.#byId.get(id)
  }

  create ({ request, origin, at, timing, ending = success, distortion, isForeign = false }: NewPrediction): Prediction {
    const { place, createdMicros } = this.#placeFor(Math.floor(this.#clock.read(at) * 1000))
    const { cancelAfterMs, ...asked } = request
    const prediction: Prediction = {
      id: newPredictionId(),
      origin,
      ...asked,
      isForeign,
      clock: this.#clock,
      createdMicros,
      createdAt: at,
      deadline: cancelAfterMs === undefined ? null : at + cancelAfterMs,
      ...planTimes(at, timing, ending, cancelAfterMs),
      keptMs: timing.keptMs,
      distortion
    }
    this.#all.push(prediction)
    this.#byCreation.splice(place, 0, prediction)
    this.#byId.set(prediction.id, prediction)
    this.changes.emit('created', prediction)
    return prediction
  }

  /** Ends a prediction now. @returns false, without a change, if it had ended already */
  end (prediction: Prediction, ending: Ending, now: number): boolean {
    if (now >= prediction.endsAt) return false
    prediction.endsAt = now
    prediction.ending = ending
    this.changes.emit('ended', prediction)
    return true
  }

  /** The first free microsecond from that time on, and the index of its prediction in the order of creation. */
  #placeFor (micros: number): { place: number, createdMicros: number } {
    let place = indexAt(this.#byCreation, micros)
    let createdMicros = micros
    for (; this.#byCreation[place]?.createdMicros === createdMicros; place++) createdMicros++
    return { place, createdMicros }
  }
}

/** The index of the first prediction that shows to be created at or after a time in microseconds. */
export function indexAt (byCreation: readonly Prediction[], micros: number): number {
  let [low, high] = [0, byCreation.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((byCreation[middle]?.createdMicros ?? Infinity) < micros) low = middle + 1
    else high = middle
  }
  return low
}

function planTimes (now: number, { startingMs, generationMs }: Timing, ending: Ending, cancelAfterMs = Infinity): Pick<Prediction, 'startsAt' | 'endsAt' | 'ending'> {
  const endsAt = now + generationMs
  const startsAt = ending.status === 'aborted' ? endsAt : now + startingMs
  const deadline = now + cancelAfterMs
  if (deadline >= endsAt) return { startsAt, endsAt, ending }
  return { startsAt, endsAt: deadline, ending: { status: deadline <= startsAt ? 'aborted' : 'canceled' } }
}
