import type { Log } from './log.ts'

export interface ClaimLoopOptions {
  /** Claims what there is and starts the work on it. What it throws is logged; the next look tries again. */
  claim: () => Promise<void>
  /** how often, in ms, to look for what nobody has announced */
  lookIntervalMs: number
  log: Log
}

/** Claims in a later turn of the event loop whenever it is woken, and once in each interval; never twice at a time. */
export class ClaimLoop {
  #options
  #timer: NodeJS.Timeout | undefined
  #claiming: Promise<void> | undefined
  #wakeAgain = false
  #isStopped = false

  constructor (options: ClaimLoopOptions) {
    this.#options = options
  }

  start (): void {
    this.#timer = setInterval(() => this.wake(), this.#options.lookIntervalMs).unref()
    this.wake()
  }

  /** Says that there may be something to claim. Returns at once. */
  wake (): void {
    if (this.#isStopped) return
    if (this.#claiming !== undefined) {
      this.#wakeAgain = true
      return
    }
    this.#claiming = new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#options.claim())
      .catch((err: unknown) => this.#options.log.warn({ err }, 'Could not claim anything; looking again soon'))
      .finally(() => {
        this.#claiming = undefined
        if (!this.#wakeAgain) return
        this.#wakeAgain = false
        this.wake()
      })
  }

  /** Claims nothing more. Resolves when what is being claimed has been claimed. */
  async stop (): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    await this.#claiming
  }
}
