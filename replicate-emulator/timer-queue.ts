interface Appointment {
  due: number
  task: () => void
}

/** An injected clock may jump at any moment, so no sleep is longer than this. */
const LONGEST_SLEEP_MS = 250

/** Runs tasks when they are due by the emulator's clock: one sorted list and one timer, however many there are. */
export class Agenda {
  readonly #now: () => number
  #appointments: Appointment[] = []
  #timer: NodeJS.Timeout | undefined
  #wakesAt = Infinity
  #stopped = false

  constructor (now: () => number) {
    this.#now = now
  }

  /** Runs the task at `due` (milliseconds), or soon where that has passed; never once the agenda is stopped. */
  at (due: number, task: () => void): void {
    if (this.#stopped) return
    this.#appointments.splice(this.#placeOf(due), 0, { due, task })
    this.#arm()
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#appointments = []
  }

  #placeOf (due: number): number {
    let [low, high] = [0, this.#appointments.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#appointments[middle]?.due ?? Infinity) <= due) low = middle + 1
      else high = middle
    }
    return low
  }

  #arm (): void {
    const next = this.#appointments[0]
    if (next === undefined || this.#wakesAt <= next.due) return
    clearTimeout(this.#timer)
    const sleep = Math.min(Math.max(next.due - this.#now(), 0), LONGEST_SLEEP_MS)
    this.#wakesAt = this.#now() + sleep
    this.#timer = setTimeout(() => this.#run(), sleep).unref()
  }

  #run (): void {
    this.#wakesAt = Infinity
    const due = this.#appointments.splice(0, this.#placeOf(this.#now()))
    this.#arm()
    for (const { task } of due) task()
  }
}
