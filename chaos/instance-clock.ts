import { globSync, renameSync, writeFileSync } from 'node:fs'

/** The variant for processes with several threads, such as Node. */
const libraryPaths = '/usr/{lib,lib64,local/lib}/{,*/}faketime/libfaketimeMT.so.1'

/** The wall clock of one process, which libfaketime can set and step while the process runs. Its monotonic clock stays true. */
export class InstanceClock {
  readonly #library: string
  readonly #file: string
  readonly #baseOffsetMs: number

  private constructor (library: string, file: string, baseOffsetMs: number) {
    this.#library = library
    this.#file = file
    this.#baseOffsetMs = baseOffsetMs
    this.reset()
  }

  /**
   * @param file          the path of a file for the offset
   * @param baseOffsetMs  how far the clock is ahead of the true time as long as it has not stepped; negative: behind
   * @returns undefined if libfaketime is not on the machine
   */
  static find (file: string, baseOffsetMs: number): InstanceClock | undefined {
    const [library] = globSync(libraryPaths)
    return library === undefined ? undefined : new InstanceClock(library, file, baseOffsetMs)
  }

  /** The environment variables of a process with this clock. */
  get env (): Record<string, string> {
    return {
      LD_PRELOAD: this.#library, FAKETIME_TIMESTAMP_FILE: this.#file, FAKETIME_CACHE_DURATION: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1'
    }
  }

  /** @param ms  how far the clock is ahead of the true time from now on; the process reads it within a second */
  step (ms: number): void {
    const seconds = (ms / 1000).toFixed(3)
    // Renamed into place, so that the process cannot read half a line.
    writeFileSync(`${this.#file}.next`, `${ms < 0 ? '' : '+'}${seconds}\n`)
    renameSync(`${this.#file}.next`, this.#file)
  }

  /** Steps back to the base offset. */
  reset (): void {
    this.step(this.#baseOffsetMs)
  }
}
