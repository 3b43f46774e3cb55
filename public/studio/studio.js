/** @import { Creation, Task } from '../types.js' */
import { Api, ApiError, serviceNow } from './api.js'
import { Library } from './library.js'
import { Live } from './live.js'

export const api = new Api()
export const library = new Library(api)
export const live = new Live({ api, library })

/** Emits `key` when the API key has changed, and `fill` with a dream and a style for the form. */
export const studio = new EventTarget()

/**
 * Sends a request. If the service wants an API key, or another one, it asks the user for it and sends the request again.
 * @template Result
 * @param {() => Promise<Result>} request
 * @returns {Promise<Result>}
 * @throws the error of the request
 */
export async function withKey (request) {
  for (;;) {
    try {
      const result = await request()
      live.note()
      return result
    } catch (error) {
      live.note(error)
      if (!(error instanceof ApiError) || !error.isAboutKey || !await askForKey(error)) throw error
    }
  }
}

/**
 * Asks for an API key.
 * @param {ApiError} [reason] the answer of the service that made it necessary
 * @returns {Promise<boolean>} whether there is another one now
 */
export async function askForKey (reason) {
  const { KeyDialog } = await import('./key-dialog.js')
  return KeyDialog.ask({ reason, hasKey: api.key !== null, onKey: changeKey })
}

/** @param {string | null} key */
function changeKey (key) {
  if (api.key === key) return
  api.key = key
  studio.dispatchEvent(new Event('key'))
}

/**
 * Creates a task and shows it. The same creation makes no second one.
 * @param {Creation} creation
 */
export async function create (creation) {
  const id = await withKey(() => api.create(creation))
  const task = await withKey(() => api.get(id)).catch(() => provisional(id, creation))
  library.putCreated(task)
  return task
}

/** Of one failed task, each deleted before the next one. */
const maxRetries = 20

/**
 * Makes a film of the same dream again. However often it is called, and in however many windows, it makes one.
 * @param {Task} task that has failed
 */
export async function retry ({ task_id: id, dream, style }) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await create({ dream, style, idempotencyKey: attempt === 1 ? `retry-${id}` : `retry-${id}-${attempt}` })
    } catch (error) {
      // The film of the attempt before was deleted.
      if (!(error instanceof ApiError) || error.code !== 'idempotency_key_task_deleted' || attempt === maxRetries) throw error
    }
  }
}

/** @param {Task} task */
export async function cancel ({ task_id: id }) {
  try {
    library.put(await withKey(() => api.cancel(id)))
  } catch (error) {
    // It has ended by itself in this moment.
    if (!(error instanceof ApiError) || error.code !== 'task_finished') throw error
    library.put(await api.get(id))
  }
}

/** @param {Task} task */
export async function remove ({ task_id: id }) {
  try {
    await withKey(() => api.remove(id))
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error
  }
  library.forget(id)
}

/**
 * Puts a dream into the form, to be changed.
 * @param {Pick<Task, 'dream' | 'style'>} task
 */
export function change ({ dream, style }) {
  studio.dispatchEvent(new CustomEvent('fill', { detail: { dream, style } }))
}

/**
 * A task that was created, until the service can be asked for it.
 * @param {string} id
 * @param {Creation} creation
 * @returns {Task}
 */
function provisional (id, { dream, style }) {
  const now = new Date(serviceNow()).toISOString()
  return {
    task_id: id,
    status: 'pending',
    dream,
    style,
    video_url: null,
    error: null,
    created_at: now,
    updated_at: now,
    error_code: null,
    progress: null,
    revision: 0,
    poster_url: null,
    expires_at: null
  }
}
