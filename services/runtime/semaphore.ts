/** Limits concurrent work to a number of permits, first come, first served. */
export class Semaphore {
  #free
  #waiting = new Set<() => void>()

  constructor (permits: number) {
    this.#free = permits
  }

  /**
   * Runs `work` as soon as a permit is free.
   * @throws the signal's reason if it is aborted before that, or what `work` throws
   */
  async run<T> (signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    if (this.#free > 0) this.#free--
    else await this.#acquire(signal)
    try {
      return await work()
    } finally {
      this.#release()
    }
  }

  #acquire (signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = (): void => {
        this.#waiting.delete(go)
        reject(signal.reason)
      }
      signal.addEventListener('abort', giveUp, { once: true })
      this.#waiting.add(go)
    })
  }

  #release (): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#free++
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
