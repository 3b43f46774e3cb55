import { StoreUnavailableError } from '../store-errors.ts'

interface Write<W, R> {
  write: W
  resolve: (result: R) => void
  reject: (reason: unknown) => void
  timer: NodeJS.Timeout | undefined
}

export interface PostgresWriteBatcherOptions<W, R> {
  /** Makes all writes of a batch and returns their results in order. If it throws, all of them fail with that error. */
  commit: (writes: W[]) => Promise<R[]>
  /** Two writes with the same key are never in the same batch. */
  keyOf: (write: W) => string
  /** the maximum number of writes in one batch */
  maxBatchSize: number
  /** the maximum number of batches that are committed at the same time */
  maxConcurrentBatches: number
  /**
   * ms that a write may take in total: a batch takes long to fail while the database is unavailable. A write that still
   * waits for a batch after 80 % of this time is refused and never made. A write in progress is refused only after 120 %,
   * because the error of its batch says whether the write may have happened.
   */
  timeoutMs: number
}

const [pendingShare, inProgressShare] = [0.8, 1.2]

/**
 * Collects writes while others are in progress and commits them together, so that they share the round trips and the
 * flush to the disk that a durable write costs.
 */
export class PostgresWriteBatcher<W, R> {
  #options
  #pending: Array<Write<W, R>> = []
  #inProgress = new Set<Promise<void>>()
  #isScheduled = false

  constructor (options: PostgresWriteBatcherOptions<W, R>) {
    this.#options = options
  }

  /** @throws StoreUnavailableError if the write was not made in time, or the error of its batch */
  run (write: W): Promise<R> {
    return new Promise((resolve, reject) => {
      const entry: Write<W, R> = { write, resolve, reject, timer: undefined }
      const { timeoutMs } = this.#options
      if (timeoutMs !== Infinity) entry.timer = setTimeout(() => this.#refuse(entry), timeoutMs * pendingShare)
      this.#pending.push(entry)
      this.#schedule()
    })
  }

  #refuse (late: Write<W, R>): void {
    const isInProgress = !this.#pending.includes(late)
    const refuse = (): void => late.reject(new StoreUnavailableError(new Error(`The write was not made within ${this.#options.timeoutMs} ms`), { isOutcomeUnknown: isInProgress }))
    this.#pending = this.#pending.filter((entry) => entry !== late)
    if (isInProgress) late.timer = setTimeout(refuse, this.#options.timeoutMs * (inProgressShare - pendingShare))
    else refuse()
  }

  /** Resolves when no write is waiting or in progress. */
  async drain (): Promise<void> {
    while (this.#pending.length + this.#inProgress.size > 0) {
      await Promise.all(this.#inProgress)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  #schedule (): void {
    if (this.#isScheduled || this.#inProgress.size >= this.#options.maxConcurrentBatches || this.#pending.length === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      const batch = this.#takeBatch()
      if (batch.length === 0) return
      const commit = this.#commit(batch).finally(() => {
        this.#inProgress.delete(commit)
        this.#schedule()
      })
      this.#inProgress.add(commit)
      this.#schedule()
    })
  }

  #takeBatch (): Array<Write<W, R>> {
    const { keyOf, maxBatchSize } = this.#options
    const keys = new Set<string>()
    const batch: Array<Write<W, R>> = []
    const remaining: Array<Write<W, R>> = []
    for (const entry of this.#pending) {
      const key = keyOf(entry.write)
      const isTaken = batch.length < maxBatchSize && !keys.has(key)
      keys.add(key)
      if (isTaken) batch.push(entry)
      else remaining.push(entry)
    }
    this.#pending = remaining
    return batch
  }

  /** Never rejects: an error of the commit rejects the promises of the writes. */
  async #commit (batch: Array<Write<W, R>>): Promise<void> {
    try {
      const results = await this.#options.commit(batch.map(({ write }) => write))
      for (const [index, { resolve }] of batch.entries()) resolve(results[index] as R)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    } finally {
      for (const { timer } of batch) clearTimeout(timer)
    }
  }
}
