/** Runs work once for all concurrent callers with the same key: they share its result or its error. */
export class SingleFlight<Result> {
  #pending = new Map<string, Promise<Result>>()

  run (key: string, work: () => Promise<Result>): Promise<Result> {
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending
    const started = work().finally(() => this.#pending.delete(key))
    this.#pending.set(key, started)
    return started
  }
}
