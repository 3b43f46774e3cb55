import { LRUCache } from 'lru-cache'
import { extractUrls } from '../replicate/prediction-output.ts'
import type { Prediction } from '../replicate/prediction.ts'

export interface UnclaimedResultsOptions {
  /** how many results are kept */
  max: number
  /** ms for which each is kept */
  ttlMs: number
}

/** Characters of JSON. A larger result is not kept; its prediction is read when it is due. */
const maxLength = 16 * 1024

/** Results that webhooks brought before their predictions were watched here. Most belong to tasks of other instances. */
export class UnclaimedResults {
  #kept

  constructor ({ max, ttlMs }: UnclaimedResultsOptions) {
    // Without the purge an entry is removed only when it is read, and most entries are never read.
    this.#kept = new LRUCache<string, Prediction>({ max, ttl: ttlMs, ttlAutopurge: true })
  }

  get size (): number {
    return this.#kept.size
  }

  keep (prediction: Prediction): void {
    const essence = keepEssentials(prediction)
    if (JSON.stringify(essence).length <= maxLength) this.#kept.set(prediction.id, essence)
  }

  /** @returns the prediction without input and logs, and with the URLs of its output only: what a verdict needs */
  get (predictionId: string): Prediction | undefined {
    return this.#kept.get(predictionId)
  }
}

/** The clone matters: a slice of a string can keep the whole string in memory. */
function keepEssentials (prediction: Prediction): Prediction {
  return structuredClone({ ...prediction, input: null, logs: '', output: extractUrls(prediction.output) })
}
