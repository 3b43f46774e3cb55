import { WaitingLine, type Order } from '../runtime/waiting-line.ts'

/** Tasks that wait to be submitted, in an order of their own, and those that are being submitted. */
export class SubmissionQueue {
  #capacity
  #waiting = new WaitingLine()
  #running = 0

  /** @param capacity how many may run at the moment; after it has grown, call `admit` */
  constructor (capacity: () => number) {
    this.#capacity = capacity
  }

  /** How many wait or run. */
  get size (): number {
    return this.#running + this.#waiting.size
  }

  /**
   * Resolves when the caller may run; the caller calls `release` afterwards.
   * @throws the signal's reason where it is aborted before
   */
  acquire (order: Order, signal: AbortSignal): Promise<void> {
    const turn = this.#waiting.wait(order, signal)
    this.admit()
    return turn
  }

  release (): void {
    this.#running--
    this.admit()
  }

  /** Lets as many run as the capacity allows. */
  admit (): void {
    while (this.#running < this.#capacity() && this.#waiting.admitNext()) this.#running++
  }
}
