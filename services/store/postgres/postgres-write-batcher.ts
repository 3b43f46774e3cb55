import { StoreUnavailableError } from '../store-errors.ts'

interface Write<W, R> {
  write: W
  resolve: (result: R) => void
  reject: (reason: unknown) => void
  timer: NodeJS.Timeout | undefined
}

export interface PostgresWriteBatcherOptions<W, R> {
  /** Does all of them at once, in the order of the answers; what it throws is what each gets. */
  commit: (writes: W[]) => Promise<R[]>
  /** Writes of the same key are never in the same group. */
  keyOf: (write: W) => string
  /** how many writes one group holds at most */
  maxBatchSize: number
  /** how many groups may be under way at a time */
  maxConcurrentBatches: number
  /**
   * ms that a write may take in all: while the database is away groups take long to fail. One whose turn has not come
   * after four fifths of it is refused, and never made. One that is under way has a fifth more, for its own error says
   * whether it may have happened.
   */
  timeoutMs: number
}

const [waitingShare, underWayShare] = [0.8, 1.2]

/**
 * Gathers writes while others are under way and commits them together, so that they share the round trips and the
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

  /** @throws StoreUnavailableError where it was not made in time, or what the commit of its group throws */
  run (write: W): Promise<R> {
    return new Promise((resolve, reject) => {
      const entry: Write<W, R> = { write, resolve, reject, timer: undefined }
      const { timeoutMs } = this.#options
      if (timeoutMs !== Infinity) entry.timer = setTimeout(() => this.#refuse(entry), timeoutMs * waitingShare)
      this.#pending.push(entry)
      this.#schedule()
    })
  }

  #refuse (late: Write<W, R>): void {
    const isUnderWay = !this.#pending.includes(late)
    const refuse = (): void => late.reject(new StoreUnavailableError(new Error(`Not made within ${this.#options.timeoutMs} ms`), { isOutcomeUnknown: isUnderWay }))
    this.#pending = this.#pending.filter((entry) => entry !== late)
    if (isUnderWay) late.timer = setTimeout(refuse, this.#options.timeoutMs * (underWayShare - waitingShare))
    else refuse()
  }

  /** Resolves when nothing waits and nothing is under way. */
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
      const group = this.#takeBatch()
      if (group.length === 0) return
      const commit = this.#commit(group).finally(() => {
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
    const group: Array<Write<W, R>> = []
    const left: Array<Write<W, R>> = []
    for (const entry of this.#pending) {
      const key = keyOf(entry.write)
      const isTaken = group.length < maxBatchSize && !keys.has(key)
      keys.add(key)
      if (isTaken) group.push(entry)
      else left.push(entry)
    }
    this.#pending = left
    return group
  }

  /** Never rejects: each write has its own answer. */
  async #commit (group: Array<Write<W, R>>): Promise<void> {
    try {
      const results = await this.#options.commit(group.map(({ write }) => write))
      for (const [index, { resolve }] of group.entries()) resolve(results[index] as R)
    } catch (error) {
      for (const { reject } of group) reject(error)
    } finally {
      for (const { timer } of group) clearTimeout(timer)
    }
  }
}
