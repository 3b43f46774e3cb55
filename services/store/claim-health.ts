import { StoreUnavailableError } from './store-errors.ts'

/** An instance at work asks for more every second: what failed longer ago has not been asked for again. */
const failureTtlMs = 5_000

/** Whether work can be given out: a store that takes tasks and answers reads, while no task can be claimed, is not well. */
export class ClaimHealth {
  #isLasting
  #failure: { error: unknown, at: number } | undefined

  /** @param isLasting whether a failure is more than a connection that was lost just then */
  constructor (isLasting: (error: unknown) => boolean) {
    this.#isLasting = isLasting
  }

  /** Makes a claim and remembers how it went. */
  async track<T> (claim: () => Promise<T>): Promise<T> {
    try {
      return await claim()
    } catch (error) {
      if (this.#isLasting(error)) this.#failure = { error, at: performance.now() }
      throw error
    }
  }

  /** A claim has succeeded. */
  recordSuccess (): void {
    this.#failure = undefined
  }

  /** @throws StoreUnavailableError while claims fail */
  assertHealthy (): void {
    if (this.#failure === undefined || performance.now() - this.#failure.at > failureTtlMs) return
    const { error } = this.#failure
    throw error instanceof StoreUnavailableError ? error : new StoreUnavailableError(error)
  }
}
