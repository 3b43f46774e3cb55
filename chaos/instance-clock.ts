import { globSync, renameSync, writeFileSync } from 'node:fs'

/** The one for many threads, which a Node process has. */
const places = '/usr/{lib,lib64,local/lib}/{,*/}faketime/libfaketimeMT.so.1'

/** The wall clock of one process, wrong and stepping while it runs, by libfaketime. Its monotonic clock stays true. */
export class InstanceClock {
  readonly #library: string
  readonly #file: string
  readonly #usualMs: number

  private constructor (library: string, file: string, usualMs: number) {
    this.#library = library
    this.#file = file
    this.#usualMs = usualMs
    this.stepBack()
  }

  /**
   * @param file     a path at which it may keep how wrong it is
   * @param usualMs  how far it is ahead of the true time when it has not stepped; negative: behind
   * @returns undefined where libfaketime is not on the machine
   */
  static find (file: string, usualMs: number): InstanceClock | undefined {
    const [library] = globSync(places)
    return library === undefined ? undefined : new InstanceClock(library, file, usualMs)
  }

  /** For a process that is to have this clock. */
  get env (): Record<string, string> {
    return {
      LD_PRELOAD: this.#library, FAKETIME_TIMESTAMP_FILE: this.#file, FAKETIME_CACHE_DURATION: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1'
    }
  }

  /** @param ms  how far ahead of the true time it is from now on; the process sees it within a second */
  step (ms: number): void {
    const seconds = (ms / 1000).toFixed(3)
    // A process that reads in the middle of a write would read something else.
    writeFileSync(`${this.#file}.next`, `${ms < 0 ? '' : '+'}${seconds}\n`)
    renameSync(`${this.#file}.next`, this.#file)
  }

  /** To where it usually is. */
  stepBack (): void {
    this.step(this.#usualMs)
  }
}
