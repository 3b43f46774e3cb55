import { StoreUnavailableError } from './store-errors.ts'

/** A working instance claims every second, so an older failure says nothing about the present. */
const failureTtlMs = 5_000

/** Whether tasks can be claimed. A store that accepts tasks and answers reads, while no task can be claimed, is not healthy. */
export class ClaimHealth {
  #isLasting
  #failure: { error: unknown, at: number } | undefined

  /** @param isLasting whether a failure is more than a lost connection */
  constructor (isLasting: (error: unknown) => boolean) {
    this.#isLasting = isLasting
  }

  /** Makes a claim and remembers its failure. */
  async track<T> (claim: () => Promise<T>): Promise<T> {
    try {
      return await claim()
    } catch (error) {
      if (this.#isLasting(error)) this.#failure = { error, at: performance.now() }
      throw error
    }
  }

  /** Call it after a claim that succeeded. */
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
