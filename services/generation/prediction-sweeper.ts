import { sweepPredictions, type PredictionRef } from '../replicate/prediction-sweep.ts'
import { isEnded, type Prediction } from '../replicate/prediction.ts'
import type { ReplicateClient } from '../replicate/replicate-client.ts'
import type { InFlightPrediction, TaskStore } from '../store/task-store.ts'
import { predictionsSwept, type SweepOutcome } from '../telemetry/channels.ts'

export interface PredictionSweeperOptions {
  replicate: Pick<ReplicateClient, 'list'>
  /** Knows the predictions in flight on all instances. */
  taskStore: Pick<TaskStore, 'listInFlight' | 'requestPoll'>
  /** Whether this instance watches the prediction. */
  isWatched: (predictionId: string) => boolean
  /** Hands a prediction that the list shows to the task that watches it here. */
  publish: (prediction: Prediction) => void
  /** Reads these predictions one by one, where this instance watches them. */
  poll: (predictionIds: Set<string>) => Promise<void>
  /** aborted when the instance stops */
  signal: AbortSignal
}

/** Sweeps in a row that could not read a part of the list, after which the predictions of that part are read one by one. */
const maxMissedSweeps = 2

/**
 * Reads the list for the predictions in flight on all instances. Tasks of this instance get what the list shows. Other
 * instances are asked to read those of their predictions that have ended or that the list does not show whole.
 */
export class PredictionSweeper {
  #options
  /** By prediction: consecutive sweeps that could not read its part of the list. */
  #missedSweeps = new Map<string, number>()

  constructor (options: PredictionSweeperOptions) {
    this.#options = options
  }

  async sweep (): Promise<void> {
    const startedAt = performance.now()
    let outcome: SweepOutcome = 'failed'
    try {
      outcome = await this.#sweep()
    } finally {
      if (predictionsSwept.hasSubscribers) predictionsSwept.publish({ outcome, ms: performance.now() - startedAt })
    }
  }

  async #sweep (): Promise<SweepOutcome> {
    const { taskStore, replicate, isWatched, publish, poll, signal } = this.#options
    const inFlight = await taskStore.listInFlight()
    const { seen, absent, unread } = await sweepPredictions(inFlight.flatMap(toPredictionRef), replicate, signal)
    if (signal.aborted) return 'incomplete'
    for (const prediction of seen) if (!lacksOutput(prediction)) publish(prediction)
    const toPoll = new Set([
      ...seen.filter(lacksOutput).map(({ id }) => id),
      ...absent.map(({ predictionId }) => predictionId),
      ...this.#countMissed(unread)
    ])
    const ended = new Set(seen.filter(isEnded).map(({ id }) => id))
    const elsewhere = inFlight.filter(({ predictionId: id }) => (ended.has(id) || toPoll.has(id)) && !isWatched(id))
    if (elsewhere.length > 0) await taskStore.requestPoll(elsewhere.map(({ taskId }) => taskId))
    await poll(toPoll)
    return unread.length === 0 ? 'complete' : 'incomplete'
  }

  /** @returns the predictions that were missed too often: a broken list delays nothing that can be read by itself */
  #countMissed (unread: PredictionRef[]): string[] {
    this.#missedSweeps = new Map(unread.map(({ predictionId: id }) => [id, (this.#missedSweeps.get(id) ?? 0) + 1]))
    return Array.from(this.#missedSweeps).filter(([, count]) => count >= maxMissedSweeps).map(([id]) => id)
  }
}

/** Whether the items of the list always carry the output is not documented; the prediction itself does. */
function lacksOutput ({ status, output }: Prediction): boolean {
  return status === 'succeeded' && output === null
}

function toPredictionRef ({ predictionId, predictionCreatedAt }: InFlightPrediction): PredictionRef[] {
  return predictionCreatedAt === null ? [] : [{ predictionId, createdAt: predictionCreatedAt }]
}
