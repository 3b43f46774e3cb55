export interface PollScheduleOptions<Item> {
  /** Reads an item; never rejects. */
  poll: (item: Item) => Promise<void>
  /** how many items may be read at a time */
  maxConcurrent: number
  /** While it is true, items are read only on request: something else reads those that are due. */
  isPaused: () => boolean
  /** Called when an item is due while the schedule is paused. */
  onPausedDue: () => void
}

/** When each item is read: items on request first, then the item that has been due for the longest time. */
export class PollSchedule<Item> {
  #options
  #timers = new Map<Item, NodeJS.Timeout>()
  #due: Item[] = []
  #requested = new Set<Item>()
  #polling = 0

  constructor (options: PollScheduleOptions<Item>) {
    this.#options = options
  }

  /** @param ms until the item is due for the first time */
  add (item: Item, ms: number): void {
    this.#timers.set(item, this.#startTimer(item, ms))
  }

  /** Makes an item due in `ms`; an item that was removed stays removed. */
  reschedule (item: Item, ms: number): void {
    const timer = this.#timers.get(item)
    if (timer === undefined) return
    clearTimeout(timer)
    this.#timers.set(item, this.#startTimer(item, ms))
  }

  remove (item: Item): void {
    clearTimeout(this.#timers.get(item))
    this.#timers.delete(item)
  }

  /** Reads the item now, before all that are due. */
  request (item: Item): void {
    if (this.#requested.has(item)) return
    this.#requested.add(item)
    this.run()
  }

  /** Makes no item due until it is rescheduled. Returns all items. */
  suspend (): Item[] {
    this.#due = []
    for (const timer of this.#timers.values()) clearTimeout(timer)
    return Array.from(this.#timers.keys())
  }

  /** Reads what is due, as far as the limit allows. */
  run (): void {
    const { poll, maxConcurrent, isPaused, onPausedDue } = this.#options
    if (isPaused() && this.#due.length > 0) onPausedDue()
    while (this.#polling < maxConcurrent) {
      const item = this.#takeNext()
      if (item === undefined) return
      if (!this.#timers.has(item)) continue
      this.#polling++
      poll(item).finally(() => {
        this.#polling--
        this.run()
      })
    }
  }

  /** Reads these items, due or not, a few at a time, so that others who need a call do not wait behind all of them. */
  async pollAll (items: Item[]): Promise<void> {
    const { poll, maxConcurrent } = this.#options
    const left = items.values()
    await Promise.all(Array.from({ length: maxConcurrent }, async () => {
      for (const item of left) {
        if (this.#timers.has(item)) await poll(item)
      }
    }))
  }

  #startTimer (item: Item, ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#due.push(item)
      this.run()
    }, ms)
  }

  #takeNext (): Item | undefined {
    const [requested] = this.#requested
    if (requested === undefined) return this.#options.isPaused() ? undefined : this.#due.shift()
    this.#requested.delete(requested)
    return requested
  }
}
