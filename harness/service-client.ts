import { Agent, request } from 'undici'
import type { TaskView } from '../services/tasks/task-view.ts'

export interface ServiceClientOptions {
  /** of the instances of the service, or of a proxy in front of them; the calls go round them in turn */
  urls: readonly [string, ...string[]]
  /** for the whole answer */
  timeoutMs: number
  connectTimeoutMs?: number
  /** at the same time, for each address; any number where none is given */
  connections?: number
}

export interface Call {
  method: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  /** instead of the client's */
  timeoutMs?: number
}

/** The answer to a call: `text` is its whole body. */
export interface Answer { status: number, text: string }

/** Why a page of the list could not be read. */
class UnexpectedAnswerError extends Error {
  constructor ({ method, path }: Call, { status, text }: Answer) {
    super(`${method} ${path} was answered with ${status}: ${text}`)
  }
}

/** A client of the service over HTTP, for loads of every kind: it repeats nothing and hides nothing. */
export class ServiceClient {
  readonly #urls
  readonly #timeoutMs
  readonly #agent
  #turn = 0

  constructor ({ urls, timeoutMs, connectTimeoutMs = timeoutMs, connections }: ServiceClientOptions) {
    this.#urls = urls
    this.#timeoutMs = timeoutMs
    this.#agent = new Agent({ connections: connections ?? null, connect: { timeout: connectTimeoutMs } })
  }

  /** How many instances the calls go round. */
  get instances (): number {
    return this.#urls.length
  }

  /** @throws the error of the connection, or of the timeout */
  async call ({ method, path, headers = {}, timeoutMs = this.#timeoutMs }: Call): Promise<Answer> {
    const { statusCode: status, body } = await request(this.#nextUrl() + path, {
      method, headers, dispatcher: this.#agent, signal: AbortSignal.timeout(timeoutMs)
    })
    return { status, text: await body.text() }
  }

  /**
   * Every task that `filter`, a part of the query such as `status=failed`, leaves in the list.
   * @param call makes the calls of the pages
   * @throws UnexpectedAnswerError where a page is not answered with 200
   */
  async listTasks (filter = '', call: (call: Call) => Promise<Answer> = (one) => this.call(one)): Promise<TaskView[]> {
    const tasks: TaskView[] = []
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: Call = { method: 'GET', path: `/video-status?limit=100${filter && `&${filter}`}${cursor && `&cursor=${encodeURIComponent(cursor)}`}` }
      const answer = await call(page)
      if (answer.status !== 200) throw new UnexpectedAnswerError(page, answer)
      // The boundary: what the service says is under test.
      const { items, next_cursor: next } = JSON.parse(answer.text) as { items: TaskView[], next_cursor: string | null }
      tasks.push(...items)
      cursor = next
    }
    return tasks
  }

  /** Breaks off what is under way. */
  async close (): Promise<void> {
    await this.#agent.destroy()
  }

  #nextUrl (): string {
    return this.#urls[this.#turn++ % this.#urls.length] ?? this.#urls[0]
  }
}

/** The path of a create, with what a URL needs escaped. */
export function createPath (dream: string, style: string, callbackUrl?: string): string {
  return `/generate-video?${new URLSearchParams({ dream, style, ...(callbackUrl !== undefined && { callback_url: callbackUrl }) })}`
}
