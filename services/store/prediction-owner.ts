/**
 * How long it is stored to which task a prediction belongs. A search goes no further back than the maximum of
 * `TASK_DEADLINE_SECONDS`, a day; Replicate's clock may differ from ours.
 */
export const predictionOwnerTtlMs = 48 * 3_600_000

/** A row of the table `prediction_owner` of either store. */
export interface PredictionOwner {
  prediction_id: string
  task_id: string
  /** ms since the epoch */
  recorded_at: number
}
