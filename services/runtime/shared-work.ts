/** Work that is under way for a key is not begun a second time: everyone who asks meanwhile gets its result, or its error. */
export class SharedWork<Result> {
  #underWay = new Map<string, Promise<Result>>()

  run (key: string, work: () => Promise<Result>): Promise<Result> {
    const underWay = this.#underWay.get(key)
    if (underWay !== undefined) return underWay
    const started = work().finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, started)
    return started
  }
}
