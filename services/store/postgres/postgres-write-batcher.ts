import { StoreUnavailableError } from '../store-errors.ts'

interface Write<W, R> {
  write: W
  resolve: (result: R) => void
  reject: (reason: unknown) => void
  timer: NodeJS.Timeout | undefined
}

export interface WriteGroupOptions<W, R> {
  /** Does all of them at once, in the order of the answers; what it throws is what each gets. */
  commit: (writes: W[]) => Promise<R[]>
  /** Writes of the same key are never in the same group. */
  keyOf: (write: W) => string
  /** how many writes one group holds at most */
  mostInGroup: number
  /** how many groups may be under way at a time */
  groupsAtOnce: number
  /**
   * ms that a write may take in all: while the database is away groups take long to fail. One whose turn has not come
   * after four fifths of it is refused, and never made. One that is under way has a fifth more, for its own error says
   * whether it may have happened.
   */
  longestWaitMs: number
}

const [waitingShare, underWayShare] = [0.8, 1.2]

/**
 * Gathers writes while others are under way and commits them together, so that they share the round trips and the
 * flush to the disk that a durable write costs.
 */
export class WriteGroup<W, R> {
  #options
  #waiting: Array<Write<W, R>> = []
  #underWay = new Set<Promise<void>>()
  #isScheduled = false

  constructor (options: WriteGroupOptions<W, R>) {
    this.#options = options
  }

  /** @throws StoreUnavailableError where it was not made in time, or what the commit of its group throws */
  run (write: W): Promise<R> {
    return new Promise((resolve, reject) => {
      const entry: Write<W, R> = { write, resolve, reject, timer: undefined }
      const { longestWaitMs } = this.#options
      if (longestWaitMs !== Infinity) entry.timer = setTimeout(() => this.#refuse(entry), longestWaitMs * waitingShare)
      this.#waiting.push(entry)
      this.#schedule()
    })
  }

  #refuse (late: Write<W, R>): void {
    const isUnderWay = !this.#waiting.includes(late)
    const refuse = (): void => late.reject(new StoreUnavailableError(new Error(`Not made within ${this.#options.longestWaitMs} ms`), { isOutcomeUnknown: isUnderWay }))
    this.#waiting = this.#waiting.filter((entry) => entry !== late)
    if (isUnderWay) late.timer = setTimeout(refuse, this.#options.longestWaitMs * (underWayShare - waitingShare))
    else refuse()
  }

  /** Resolves when nothing waits and nothing is under way. */
  async settle (): Promise<void> {
    while (this.#waiting.length + this.#underWay.size > 0) {
      await Promise.all(this.#underWay)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  #schedule (): void {
    if (this.#isScheduled || this.#underWay.size >= this.#options.groupsAtOnce || this.#waiting.length === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      const group = this.#takeGroup()
      if (group.length === 0) return
      const commit = this.#commit(group).finally(() => {
        this.#underWay.delete(commit)
        this.#schedule()
      })
      this.#underWay.add(commit)
      this.#schedule()
    })
  }

  #takeGroup (): Array<Write<W, R>> {
    const { keyOf, mostInGroup } = this.#options
    const keys = new Set<string>()
    const group: Array<Write<W, R>> = []
    const left: Array<Write<W, R>> = []
    for (const entry of this.#waiting) {
      const key = keyOf(entry.write)
      const isTaken = group.length < mostInGroup && !keys.has(key)
      keys.add(key)
      if (isTaken) group.push(entry)
      else left.push(entry)
    }
    this.#waiting = left
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
