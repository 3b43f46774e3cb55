import { EventEmitter } from 'node:events'
import { success, type Ending } from './outcome.ts'
import { newPredictionId, type Prediction } from './prediction.ts'
import type { CreateRequest } from './create-request.ts'

/** How long the stages of a new prediction take, in milliseconds from its creation. */
export interface Pace {
  startingMs: number
  generationMs: number
}

interface Changes {
  created: [Prediction]
  /** The end was moved forward to now. */
  ended: [Prediction]
}

/** Every prediction ever made, in order of creation. */
export class PredictionLog {
  readonly changes = new EventEmitter<Changes>()
  readonly #all: Prediction[] = []
  readonly #byId = new Map<string, Prediction>()
  #lastMicros = 0

  get all (): readonly Prediction[] {
    return this.#all
  }

  find (id: string): Prediction | undefined {
    return this.#byId.get(id)
  }

  create (request: CreateRequest, origin: string, now: number, pace: Pace, ending: Ending = success): Prediction {
    this.#lastMicros = Math.max(Math.floor(now * 1000), this.#lastMicros + 1)
    const { cancelAfterMs, ...asked } = request
    const prediction: Prediction = {
      id: newPredictionId(),
      origin,
      ...asked,
      createdMicros: this.#lastMicros,
      createdAt: Math.floor(this.#lastMicros / 1000),
      deadline: cancelAfterMs === undefined ? null : now + cancelAfterMs,
      ...plan(now, pace, ending, cancelAfterMs),
    }
    this.#all.push(prediction)
    this.#byId.set(prediction.id, prediction)
    this.changes.emit('created', prediction)
    return prediction
  }

  /** Ends a prediction now. False, and no change, where it had ended already. */
  end (prediction: Prediction, ending: Ending, now: number): boolean {
    if (now >= prediction.endsAt) return false
    prediction.endsAt = now
    prediction.ending = ending
    this.changes.emit('ended', prediction)
    return true
  }

  /** The index of the first prediction that was created at or after a time in microseconds. */
  indexAt (micros: number): number {
    let [low, high] = [0, this.#all.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#all[middle]?.createdMicros ?? Infinity) < micros) low = middle + 1
      else high = middle
    }
    return low
  }
}

function plan (now: number, { startingMs, generationMs }: Pace, ending: Ending, cancelAfterMs = Infinity): Pick<Prediction, 'startsAt' | 'endsAt' | 'ending'> {
  const endsAt = now + generationMs
  const startsAt = ending.status === 'aborted' ? endsAt : now + startingMs
  const deadline = now + cancelAfterMs
  if (deadline >= endsAt) return { startsAt, endsAt, ending }
  return { startsAt, endsAt: deadline, ending: { status: deadline <= startsAt ? 'aborted' : 'canceled' } }
}
