import type { Log } from './log.ts'

export interface ClaimLoopOptions {
  /** Claims available work and starts it. The first of several errors in a row is logged; the next interval tries again. */
  claim: () => Promise<void>
  /** how often to claim without being woken, in ms */
  claimIntervalMs: number
  log: Log
}

/** Claims work whenever it is woken, in a later turn of the event loop, and once in each interval. One claim runs at a time. */
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

  /** Tells the loop that there may be work to claim. Returns at once. */
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
    if (!this.#isFailing) this.#options.log.error({ err }, 'Work cannot be claimed; trying again until it can')
    this.#isFailing = true
  }

  /** Stops claiming. Resolves when the claim in progress has finished. */
  async stop (): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    await this.#claiming
  }
}
