/** @import { Api } from './api.js' */
/** @import { Library } from './library.js' */
/** @import { Task } from '../types.js' */
import { ApiError, UnreachableError } from './api.js'

/** A browser opens six connections to a server, for all of its tabs, and videos need some of them. */
const maxStreams = 2
/** From the request of a stream to its first event, which the service sends at once. Some proxies hold back the headers, too. */
const firstEventMs = 5_000
const longPollSeconds = 5
/** Between two rounds in which the tasks without a stream are read, and how many of them in one round. */
const roundMs = { visible: 4_000, hidden: 10_000 }
const maxReads = 20
const retryMs = [1_000, 2_000, 4_000, 8_000]

/**
 * Keeps the open tasks of the library up to date. While the page is visible, the newest ones have a stream of events each, or a long-poll where
 * a proxy holds streams back. All others are read every few seconds. It emits `reachable` and `unreachable` when the server, or the way to
 * it, comes back and goes, and `refused` with the error if the API key is no longer valid.
 */
export class Live extends EventTarget {
  #api
  #library
  /** By the id of its task. @type {Map<string, AbortController>} */
  #streams = new Map()
  /** The ids of open tasks without a stream. @type {Set<string>} */
  #waiting = new Set()
  #isReachable = true
  #canStream = true
  /** Ends the current pauses when it is aborted. */
  #wake = new AbortController()

  /** @param {{ api: Api, library: Library }} options */
  constructor ({ api, library }) {
    super()
    this.#api = api
    this.#library = library
    library.addEventListener('change', (event) => this.#consider(/** @type {CustomEvent<Task>} */ (event).detail))
    library.addEventListener('remove', (event) => this.#leave(/** @type {CustomEvent<string>} */ (event).detail))
    // After sleep or a change of the network, a connection can be dead without a sign of it.
    addEventListener('online', () => this.#restart())
    document.addEventListener('visibilitychange', () => this.#restart())
    this.#readInRounds()
  }

  /**
   * Records how a request of the page went.
   * @param {unknown} [error] undefined if it was answered
   */
  note (error) {
    const isReachable = !(error instanceof UnreachableError)
    if (isReachable === this.#isReachable) return
    this.#isReachable = isReachable
    this.dispatchEvent(new Event(isReachable ? 'reachable' : 'unreachable'))
  }

  /** @param {Task} task that has changed */
  #consider ({ task_id: id, status }) {
    if (status === 'completed' || status === 'failed') return this.#leave(id)
    if (this.#streams.has(id)) return
    this.#waiting.add(id)
    this.#fillStreams()
  }

  /** @param {string} id */
  #leave (id) {
    this.#waiting.delete(id)
    this.#streams.get(id)?.abort()
    if (this.#streams.delete(id)) this.#fillStreams()
  }

  #fillStreams () {
    if (document.visibilityState === 'hidden') return
    for (const id of newestFirst(this.#waiting)) {
      if (this.#streams.size >= maxStreams) return
      this.#waiting.delete(id)
      this.#follow(id)
    }
  }

  /** Opens all streams anew, or closes them while the page is hidden. */
  #restart () {
    for (const [id, controller] of this.#streams) {
      controller.abort()
      this.#waiting.add(id)
    }
    this.#streams.clear()
    this.#canStream = true
    this.#wake.abort()
    this.#wake = new AbortController()
    this.#fillStreams()
  }

  /** Follows a task until it has ended. @param {string} id */
  async #follow (id) {
    const controller = new AbortController()
    this.#streams.set(id, controller)
    const { signal } = controller
    let failures = 0
    while (!signal.aborted) {
      try {
        if (this.#canStream) await this.#readStream(id, signal)
        else await this.#longPoll(id, signal)
        failures = 0
      } catch (error) {
        if (!signal.aborted) await this.#handle(id, error, failures++)
      }
    }
  }

  /**
   * @param {string} id
   * @param {AbortSignal} signal
   */
  async #readStream (id, signal) {
    const held = new AbortController()
    const timer = setTimeout(() => held.abort(), firstEventMs)
    try {
      for await (const task of this.#api.follow(id, { signal: AbortSignal.any([signal, held.signal]) })) {
        clearTimeout(timer)
        this.#take(task)
      }
    } catch (error) {
      if (!held.signal.aborted) throw error
      this.#canStream = false
    } finally {
      clearTimeout(timer)
    }
    // An instance that stops ends its streams: another one takes them over.
    if (!signal.aborted) await pause(retryMs[0], this.#wake.signal)
  }

  /**
   * @param {string} id
   * @param {AbortSignal} signal
   */
  async #longPoll (id, signal) {
    this.#take(await this.#api.get(id, { waitSeconds: longPollSeconds, signal }))
    // A proxy may have dropped the wish to wait.
    if (!signal.aborted) await pause(retryMs[0], this.#wake.signal)
  }

  async #readInRounds () {
    for (;;) {
      await pause(roundMs[document.visibilityState], this.#wake.signal)
      if (!this.#isReachable && this.#waiting.size + this.#streams.size === 0) await this.#askWhetherReachable()
      for (const id of [...this.#waiting].slice(0, maxReads)) await this.#read(id)
    }
  }

  /** Reads a task that has no stream, and puts it behind the others. @param {string} id */
  async #read (id) {
    if (!this.#waiting.delete(id)) return
    this.#waiting.add(id)
    try {
      const task = await this.#api.get(id)
      // The API key may have changed meanwhile.
      if (this.#waiting.has(id) || this.#streams.has(id)) this.#take(task)
    } catch (error) {
      await this.#handle(id, error, 0)
    }
  }

  async #askWhetherReachable () {
    try {
      await this.#api.ping()
      this.note()
    } catch (error) {
      this.note(error)
    }
  }

  /** @param {Task} task */
  #take (task) {
    this.note()
    this.#library.put(task)
  }

  /**
   * Stops to follow a task that is gone or needs another API key. Otherwise it waits before the next attempt, longer after each failure.
   * @param {string} id
   * @param {unknown} error
   * @param {number} failures that came one after another before this one
   */
  async #handle (id, error, failures) {
    this.note(error)
    if (error instanceof ApiError && !error.isTemporary) {
      this.#leave(id)
      if (error.status === 404) this.#library.forget(id)
      if (error.isAboutKey) this.dispatchEvent(new CustomEvent('refused', { detail: error }))
      return
    }
    const asked = error instanceof ApiError ? error.retryAfterMs : 0
    await pause(asked || retryMs[Math.min(failures, retryMs.length - 1)], this.#wake.signal)
  }
}

/** @param {Set<string>} ids */
function newestFirst (ids) {
  return [...ids].sort().reverse()
}

/**
 * @param {number | undefined} ms
 * @param {AbortSignal} wake ends the pause early
 * @returns {Promise<void>}
 */
function pause (ms, wake) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      wake.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    wake.addEventListener('abort', end)
  })
}
