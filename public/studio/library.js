/** @import { Api } from './api.js' */
/** @import { Source, Style, Task } from '../types.js' */
import { ApiError } from './api.js'
import { local } from './storage.js'

const idsName = 'dreamreel.films'
const maxIds = 500
const pageSize = 30

/**
 * The tasks that the page knows. It emits `change` with a task that is new or was changed, and `remove` with the id of one that is gone.
 */
export class Library extends EventTarget {
  /** @type {Map<string, Task>} */
  #tasks = new Map()
  #api
  /** @type {Source} */
  source = 'service'
  /** Why the list of the service cannot be used; null if it can. @type {ApiError | null} */
  refusal = null

  #isSourceKnown = false
  /** +1 with each API key: what was asked with an older one is not taken in. */
  #epoch = 0

  /** @param {Api} api */
  constructor (api) {
    super()
    this.#api = api
  }

  /** Newest first: the ids begin with the time of creation. */
  get tasks () {
    return [...this.#tasks.values()].sort((one, other) => one.task_id < other.task_id ? 1 : -1)
  }

  /** Whether the caller may delete tasks: those that may list them may. */
  get canRemove () {
    return this.source === 'service'
  }

  /** @param {string} id */
  get (id) {
    return this.#tasks.get(id)
  }

  /**
   * Takes in a task, unless a newer state of it is known.
   * @param {Task} task
   */
  put (task) {
    const known = this.#tasks.get(task.task_id)
    if (known !== undefined && (known.revision > task.revision || (known.revision === task.revision && known.video_url === task.video_url))) return
    this.#tasks.set(task.task_id, task)
    this.dispatchEvent(new CustomEvent('change', { detail: task }))
  }

  /**
   * Takes in a task that this page has created: without the list of the service, only this browser knows it.
   * @param {Task} task
   */
  putCreated (task) {
    this.put(task)
    storeIds([task.task_id, ...storedIds()])
  }

  /** @param {string} id */
  forget (id) {
    if (!this.#tasks.delete(id)) return
    storeIds(storedIds().filter((stored) => stored !== id))
    this.dispatchEvent(new CustomEvent('remove', { detail: id }))
  }

  /** Forgets all tasks, because another API key may not see them. Their ids stay in the browser. */
  clear () {
    this.#epoch++
    this.#isSourceKnown = false
    for (const id of this.#tasks.keys()) {
      this.#tasks.delete(id)
      this.dispatchEvent(new CustomEvent('remove', { detail: id }))
    }
  }

  /**
   * Loads a page of tasks.
   * @param {{ status?: string, style?: string, cursor?: string | null }} query
   * @returns {Promise<string | null>} the cursor of the next page; null after the last one
   * @throws {ApiError | import('./api.js').UnreachableError}
   */
  async load ({ cursor = null, ...filter }) {
    if (this.#isSourceKnown && this.source === 'browser') return this.#loadStored(cursor)
    const epoch = this.#epoch
    try {
      const { items, next_cursor: next } = await this.#api.list({ ...filter, cursor, limit: pageSize })
      if (epoch !== this.#epoch) return null
      this.#chooseSource('service', null)
      for (const task of items) this.put(task)
      return next
    } catch (error) {
      // Without API keys, a service that others can reach gives no list: then the films are those that this browser has made.
      if (epoch !== this.#epoch || !(error instanceof ApiError) || ![401, 403].includes(error.status)) throw error
      this.#chooseSource('browser', error)
      return this.#loadStored(null)
    }
  }

  /**
   * @param {Source} source
   * @param {ApiError | null} refusal
   */
  #chooseSource (source, refusal) {
    this.#isSourceKnown = true
    this.source = source
    this.refusal = refusal
  }

  /**
   * @param {string | null} cursor the last id of the page before
   * @returns {Promise<string | null>}
   */
  async #loadStored (cursor) {
    // The ids begin with the time of creation.
    const ids = storedIds().sort().reverse().filter((id) => cursor === null || id < cursor)
    const page = ids.slice(0, pageSize)
    const epoch = this.#epoch
    for (const id of page) {
      try {
        const task = await this.#api.get(id)
        if (epoch !== this.#epoch) return null
        this.put(task)
      } catch (error) {
        if (!(error instanceof ApiError) || error.isTemporary) throw error
        // No film can be read without a key.
        if (error.isAboutKey) return null
        // It has expired or was deleted, or it belongs to another API key, which may be entered again.
        if (error.status === 404 && this.#api.key === null) storeIds(storedIds().filter((stored) => stored !== id))
      }
    }
    return ids.length > pageSize ? page.at(-1) ?? null : null
  }

  /**
   * The seconds that a film usually takes from its creation to its end: the median of the films that are known, if possible of the same style.
   * @param {Style} style
   * @returns {number | undefined} undefined while none is known
   */
  usualSeconds (style) {
    const ended = [...this.#tasks.values()].filter(({ status }) => status === 'completed')
    const ofStyle = ended.filter((task) => task.style === style)
    const seconds = (ofStyle.length > 0 ? ofStyle : ended)
      .map(({ created_at: created, updated_at: updated }) => (Date.parse(updated) - Date.parse(created)) / 1000)
      .sort((one, other) => one - other)
    return seconds[Math.floor(seconds.length / 2)]
  }
}

/** @returns {string[]} newest first */
function storedIds () {
  const ids = JSON.parse(local.get(idsName) ?? '[]')
  return Array.isArray(ids) ? ids.filter((id) => typeof id === 'string') : []
}

/** @param {string[]} ids */
function storeIds (ids) {
  local.set(idsName, JSON.stringify([...new Set(ids)].slice(0, maxIds)))
}
