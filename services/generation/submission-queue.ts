interface Waiter { order: number, admit: () => void }

/** Tasks that wait to be submitted, in an order of their own, and those that are being submitted. */
export class SubmissionQueue {
  #capacity
  #waiting: Waiter[] = []
  #running = 0

  /** @param capacity how many may run at the moment; after it has grown, call `admit` */
  constructor (capacity: () => number) {
    this.#capacity = capacity
  }

  /** How many wait or run. */
  get size (): number {
    return this.#running + this.#waiting.length
  }

  /**
   * Resolves when the caller may run; the caller calls `release` afterwards.
   * @param order smaller goes first; of equals, the one that came first
   * @throws the signal's reason where it is aborted before
   */
  acquire (order: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal.reason)
      }
      const waiter = {
        order,
        admit: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        }
      }
      signal.addEventListener('abort', leave)
      this.#waiting.splice(this.#waiting.findLastIndex((other) => other.order <= order) + 1, 0, waiter)
      this.admit()
    })
  }

  release (): void {
    this.#running--
    this.admit()
  }

  /** Lets as many run as the capacity allows. */
  admit (): void {
    while (this.#running < this.#capacity()) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#running++
      next.admit()
    }
  }
}
