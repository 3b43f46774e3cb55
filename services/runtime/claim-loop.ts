import type { Log } from './log.ts'

export interface ClaimLoopOptions {
  /** Claims what there is and starts the work on it. What it throws is logged once, until it succeeds again; the next look tries again. */
  claim: () => Promise<void>
  /** how often, in ms, to look for what nobody has announced */
  claimIntervalMs: number
  log: Log
}

/** Claims in a later turn of the event loop whenever it is woken, and once in each interval; never twice at a time. */
export class ClaimLoop {
  #options
  #timer: NodeJS.Timeout | undefined
  #claiming: Promise<void> | undefined
  #wakeAgain = false
  #isStopped = false
  #isFailing = false

  constructor (options: ClaimLoopOptions) {
    this.#options = options
  }

  start (): void {
    this.#timer = setInterval(() => this.wake(), this.#options.claimIntervalMs).unref()
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
      .then(() => this.#succeeded(), (err: unknown) => this.#failed(err))
      .finally(() => {
        this.#claiming = undefined
        if (!this.#wakeAgain) return
        this.#wakeAgain = false
        this.wake()
      })
  }

  #succeeded (): void {
    if (this.#isFailing) this.#options.log.info({}, 'Work can be claimed again')
    this.#isFailing = false
  }

  #failed (err: unknown): void {
    if (!this.#isFailing) this.#options.log.error({ err }, 'Could not claim anything; trying again until it works')
    this.#isFailing = true
  }

  /** Claims nothing more. Resolves when what is being claimed has been claimed. */
  async stop (): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    await this.#claiming
  }
}
