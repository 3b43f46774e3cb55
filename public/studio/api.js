/** @import { Creation, ServiceStatus, Task, TaskList } from '../types.js' */
import { readEvents } from './event-stream.js'
import * as storage from './storage.js'

/** The address of the service: the page may be served below a path. */
export const serviceUrl = new URL('.', document.baseURI).href

/** An answer of the service that is an error: `code` and `message` as the service wrote them. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{ code?: string, detail?: string }} problem
   * @param {number} retryAfterMs 0 if the service did not say
   */
  constructor (status, { code = 'unknown', detail = `The server answered with the status ${status}.` }, retryAfterMs) {
    super(detail.endsWith('.') ? detail : `${detail}.`)
    this.status = status
    this.code = code
    this.retryAfterMs = retryAfterMs
  }

  /** Whether another API key could help. */
  get isAboutKey () {
    return this.status === 401
  }

  /** Whether the same request may succeed a little later. */
  get isTemporary () {
    return this.status === 429 || this.status >= 500
  }
}

/** No answer came: the server, or the way to it, is gone. */
export class UnreachableError extends Error {}

const keyName = 'dreamreel.key'
/** What the clock of this device may be wrong by without being corrected, since the service tells whole seconds only. */
const maxSkewMs = 2_000
let skewMs = 0

/** The time of the service, ms since the epoch. */
export const serviceNow = () => Date.now() + skewMs

/** @param {Response} response */
function noteTime ({ headers }) {
  const ms = Date.parse(headers.get('date') ?? '') - Date.now()
  if (Number.isFinite(ms)) skewMs = Math.abs(ms) > maxSkewMs ? ms : 0
}

const timeoutMs = 20_000

/** The public API of the service, with the API key of this tab. */
export class Api {
  #key

  /** @param {string | null} [key] by default the one that the tab has kept */
  constructor (key = storage.session.get(keyName)) {
    this.#key = key
  }

  /** The API key; null without one. It is kept until the tab is closed. */
  get key () {
    return this.#key
  }

  set key (key) {
    this.#key = key
    storage.session.set(keyName, key)
  }

  /**
   * Creates a task. A creation that is sent again with the same `idempotencyKey` makes no second one.
   * @param {Creation} creation
   * @returns {Promise<string>} the id of the task
   */
  async create ({ dream, style, idempotencyKey }) {
    const response = await this.#send('POST', `generate-video?${new URLSearchParams({ dream, style })}`, { headers: { 'idempotency-key': idempotencyKey } })
    return (await readJson(response)).task_id
  }

  /**
   * @param {string} id
   * @param {{ waitSeconds?: number, signal?: AbortSignal }} [options] waitSeconds: for how long the service may wait for the end of the task
   * @returns {Promise<Task>}
   */
  async get (id, { waitSeconds = 0, signal } = {}) {
    /** @type {Record<string, string>} */
    const headers = waitSeconds > 0 ? { prefer: `wait=${waitSeconds}` } : {}
    return readJson(await this.#send('GET', `video-status/${encodeURIComponent(id)}`, { headers, signal, timeoutMs: timeoutMs + waitSeconds * 1000 }))
  }

  /**
   * The tasks, newest first.
   * @param {{ status?: string, style?: string, cursor?: string | null, limit?: number }} query
   * @returns {Promise<TaskList>}
   */
  async list (query) {
    const given = Object.entries(query).filter(([, value]) => value).map(([name, value]) => [name, String(value)])
    return readJson(await this.#send('GET', `video-status?${new URLSearchParams(given)}`))
  }

  /**
   * Ends a task.
   * @param {string} id
   * @returns {Promise<Task>}
   */
  async cancel (id) {
    return readJson(await this.#send('POST', `video-status/${encodeURIComponent(id)}/cancel`))
  }

  /**
   * Deletes a task that has ended, and its video.
   * @param {string} id
   */
  async remove (id) {
    await this.#send('DELETE', `video-status/${encodeURIComponent(id)}`)
  }

  /** @throws {UnreachableError} if no instance answers */
  async ping () {
    await this.#send('GET', 'livez')
  }

  /** @returns {Promise<ServiceStatus>} */
  async serviceStatus () {
    return readJson(await this.#send('GET', 'status'))
  }

  /**
   * The task now and after each change, until it has ended or the service ends the stream.
   * @param {string} id
   * @param {{ signal: AbortSignal }} options
   * @returns {AsyncGenerator<Task>}
   */
  async * follow (id, { signal }) {
    const response = await this.#send('GET', `video-status/${encodeURIComponent(id)}/events`, { signal, headers: { accept: 'text/event-stream' }, timeoutMs: 0 })
    if (response.body === null) return
    try {
      for await (const { data } of readEvents(response.body)) yield JSON.parse(data)
    } catch (cause) {
      throw new UnreachableError('The connection to the server broke.', { cause })
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{ headers?: Record<string, string>, signal?: AbortSignal, timeoutMs?: number }} [options] timeoutMs: 0 for none
   * @throws {ApiError | UnreachableError} if `signal` is aborted, an UnreachableError
   */
  async #send (method, path, { headers = {}, signal, timeoutMs: limitMs = timeoutMs } = {}) {
    const signals = [signal, limitMs > 0 ? AbortSignal.timeout(limitMs) : undefined].filter((given) => given !== undefined)
    /** @type {Record<string, string>} */
    const authorization = this.#key === null ? {} : { authorization: `Bearer ${this.#key}` }
    const request = { method, headers: { ...headers, ...authorization }, signal: AbortSignal.any(signals), cache: /** @type {const} */ ('no-store') }
    let response
    try {
      response = await fetch(new URL(path, serviceUrl), request)
    } catch (cause) {
      throw new UnreachableError('The server cannot be reached.', { cause })
    }
    noteTime(response)
    if (response.ok) return response
    const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json') === true
    const problem = isProblem ? await readJson(response) : {}
    // Proxies answer so while no instance can be reached.
    if ([502, 504].includes(response.status) || (!isProblem && response.status === 503)) throw new UnreachableError('The server cannot be reached.')
    throw new ApiError(response.status, problem, Number(response.headers.get('retry-after') ?? 0) * 1000)
  }
}

/**
 * @param {Response} response
 * @returns {Promise<any>}
 */
async function readJson (response) {
  try {
    return await response.json()
  } catch (cause) {
    throw new UnreachableError('The answer of the server broke off.', { cause })
  }
}
