interface ScheduledTask {
  due: number
  task: () => void
}

/** No sleep is longer, because an injected clock may jump at any moment. */
const maxSleepMs = 250

/** Runs tasks at their time by the emulator's clock, with one sorted list and one timer for any number of tasks. */
export class TimerQueue {
  readonly #now: () => number
  #scheduled: ScheduledTask[] = []
  #timer: NodeJS.Timeout | undefined
  #wakesAt = Infinity
  #stopped = false

  constructor (now: () => number) {
    this.#now = now
  }

  /** Runs the task at `due` (milliseconds), or soon if that has passed. Nothing runs after `stop`. */
  schedule (due: number, task: () => void): void {
    if (this.#stopped) return
    this.#scheduled.splice(this.#indexFor(due), 0, { due, task })
    this.#arm()
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#scheduled = []
  }

  #indexFor (due: number): number {
    let [low, high] = [0, this.#scheduled.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#scheduled[middle]?.due ?? Infinity) <= due) low = middle + 1
      else high = middle
    }
    return low
  }

  #arm (): void {
    const next = this.#scheduled[0]
    if (next === undefined || this.#wakesAt <= next.due) return
    clearTimeout(this.#timer)
    const sleep = Math.min(Math.max(next.due - this.#now(), 0), maxSleepMs)
    this.#wakesAt = this.#now() + sleep
    this.#timer = setTimeout(() => this.#run(), sleep).unref()
  }

  #run (): void {
    this.#wakesAt = Infinity
    const due = this.#scheduled.splice(0, this.#indexFor(this.#now()))
    this.#arm()
    for (const { task } of due) task()
  }
}
