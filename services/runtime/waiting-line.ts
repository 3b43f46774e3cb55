/** Smaller comes first. The first number that differs decides. */
export type Order = readonly number[]

interface Waiter { order: Order, admit: () => void }

/** Callers that wait until they are admitted, in an order of their own. */
export class WaitingLine {
  #waiting: Waiter[] = []

  /** How many wait. */
  get size (): number {
    return this.#waiting.length
  }

  /**
   * Resolves when the caller is admitted.
   * @param order of equals, the one that came first is admitted first
   * @throws the signal's reason as soon as it is aborted
   */
  wait (order: Order, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal?.reason)
      }
      const waiter = {
        order,
        admit: () => {
          signal?.removeEventListener('abort', leave)
          resolve()
        }
      }
      signal?.addEventListener('abort', leave)
      this.#waiting.splice(this.#waiting.findLastIndex((other) => compareOrders(other.order, order) <= 0) + 1, 0, waiter)
    })
  }

  /** Admits the caller that comes first. @returns false if none waits */
  admitNext (): boolean {
    const next = this.#waiting.shift()
    next?.admit()
    return next !== undefined
  }
}

function compareOrders (a: Order, b: Order): number {
  const index = a.findIndex((number, index) => number !== b[index])
  return index === -1 ? 0 : (a[index] ?? 0) - (b[index] ?? 0)
}
