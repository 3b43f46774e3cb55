import { LRUCache } from 'lru-cache'
import { extractUrls } from '../replicate/prediction-output.ts'
import type { Prediction } from '../replicate/prediction.ts'

export interface UnclaimedResultsOptions {
  /** the number of predictions that are kept at most */
  max: number
  /** ms that each is kept */
  ttlMs: number
}

/** As JSON; what is larger is read when its turn comes. */
const maxLength = 16 * 1024

/** The ends of predictions that were reported before their tasks wait for them here; most belong to other instances. */
export class UnclaimedResults {
  #kept

  constructor ({ max, ttlMs }: UnclaimedResultsOptions) {
    // Without the purge nothing is removed until it is asked for, and most are never asked for.
    this.#kept = new LRUCache<string, Prediction>({ max, ttl: ttlMs, ttlAutopurge: true })
  }

  get size (): number {
    return this.#kept.size
  }

  keep (prediction: Prediction): void {
    const essence = keepEssentials(prediction)
    if (JSON.stringify(essence).length <= maxLength) this.#kept.set(prediction.id, essence)
  }

  /** @returns what a verdict is made of: no input and no logs, and of the output its addresses */
  get (predictionId: string): Prediction | undefined {
    return this.#kept.get(predictionId)
  }
}

/** Cloned, for a part of a text can hold all of it in memory. */
function keepEssentials (prediction: Prediction): Prediction {
  return structuredClone({ ...prediction, input: null, logs: '', output: extractUrls(prediction.output) })
}
