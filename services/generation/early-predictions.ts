import { LRUCache } from 'lru-cache'
import { essenceOfOutput } from '../replicate/prediction-output.ts'
import type { Prediction } from '../replicate/prediction.ts'

export interface EarlyPredictionsOptions {
  /** the number of predictions that are kept at most */
  most: number
  /** ms that each is kept */
  forMs: number
}

/** As JSON; what is larger is read when its turn comes. */
const largest = 16 * 1024

/** The ends of predictions that were reported before their tasks wait for them here; most belong to other instances. */
export class EarlyPredictions {
  #kept

  constructor ({ most, forMs }: EarlyPredictionsOptions) {
    // Without the purge nothing is removed until it is asked for, and most are never asked for.
    this.#kept = new LRUCache<string, Prediction>({ max: most, ttl: forMs, ttlAutopurge: true })
  }

  get size (): number {
    return this.#kept.size
  }

  keep (prediction: Prediction): void {
    const essence = essenceOf(prediction)
    if (JSON.stringify(essence).length <= largest) this.#kept.set(prediction.id, essence)
  }

  /** @returns what a verdict is made of: no input and no logs, and of the output its addresses */
  get (predictionId: string): Prediction | undefined {
    return this.#kept.get(predictionId)
  }
}

/** Cloned, for a part of a text can hold all of it in memory. */
function essenceOf (prediction: Prediction): Prediction {
  return structuredClone({ ...prediction, input: null, logs: '', output: essenceOfOutput(prediction.output) })
}
