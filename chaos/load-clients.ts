import { setTimeout as delay } from 'node:timers/promises'
import { Agent, request } from 'undici'
import type { TaskView } from '../services/tasks/task-view.ts'
import type { Chance } from './seeded-random.ts'
import { Dreams, type Dream } from './dreams.ts'
import type { Extras } from './extras.ts'
import { hasEnded, type AcceptedTask, type Ledger } from './observations.ts'

export interface DreamersOptions {
  /** of the instances of the service, asked in turn */
  urls: [string, ...string[]]
  /** ms that a client waits for an answer */
  patienceMs: { POST: number, GET: number }
  chance: Chance
  extras: Extras
  ledger: Ledger
  /** of the receiver of callbacks, another one each time */
  newAddress: () => string
}

const meanPauseMs = 125
const connectMs = 4_000
const mostPosts = 64
/** of the POSTs that give an address to call back */
const calledBackShare = 0.5
/** of the tasks that clients cancel, where they do, and ms until then */
const cancelledShare = 0.15
const longestThoughtMs = 2_000
/** ms from one look at a task to the next: while it is open, and at least once it has ended. */
const lookEvery = { open: 600, ended: 4_000 }
const mostLooks = 32
/** What a service under this weather may say to a request that it refuses. */
const refusals = [503]

interface Expectation {
  /** called once, unless it is certain that the service never saw the request */
  mayHaveArrived?: () => void
  /** further statuses that are no surprise */
  mayAnswer?: number[]
}

/** The clients: they post dreams and look at their tasks, over and over, and write down what they are told. */
export class Dreamers {
  readonly #urls
  readonly #patienceMs
  readonly #ledger
  readonly #chance
  readonly #dreams
  readonly #cancels
  readonly #newAddress
  readonly #agent = new Agent({ connections: mostPosts + mostLooks, connect: { timeout: connectMs } })
  readonly #posting = new Set<Promise<void>>()
  readonly #nextLook = new Map<AcceptedTask, number>()
  #turn = 0

  constructor ({ urls, patienceMs, chance, extras, ledger, newAddress }: DreamersOptions) {
    this.#urls = urls
    this.#patienceMs = patienceMs
    this.#chance = chance
    this.#ledger = ledger
    this.#dreams = new Dreams(chance, extras.has('same-dreams'))
    this.#cancels = extras.has('cancel')
    this.#newAddress = newAddress
  }

  /** Posts about 8 dreams a second, each exactly once, until the signal. */
  async post (signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#posting.size < mostPosts) {
        const posting = this.#post(this.#dreams.next(), signal).finally(() => this.#posting.delete(posting))
        this.#posting.add(posting)
      }
      await delay(-Math.log(1 - this.#chance.between(0, 1)) * meanPauseMs, undefined, { signal }).catch(() => undefined)
    }
    await Promise.all(this.#posting)
  }

  /** Looks at every task again and again until the signal; at each with one request at a time, so that the order is known. */
  async watch (signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const due = [...this.#nextLook].filter(([, at]) => at <= Date.now()).slice(0, mostLooks).map(([task]) => task)
      await Promise.all(due.map((task) => this.look(task)))
      await delay(due.length === mostLooks ? 0 : 50)
    }
  }

  /** @returns whether the service said anything of the task */
  async look (task: AcceptedTask): Promise<boolean> {
    const answer = await this.#askAnyone(`/video-status/${task.id}`)
    if (answer?.status === 404) this.#ledger.missed(task)
    // The boundary: what the service says is what is under test, and compared as text.
    if (answer?.status === 200) this.#ledger.saw(task, answer.body as TaskView)
    this.#nextLook.set(task, Date.now() + (hasEnded(task) ? lookEvery.ended : lookEvery.open))
    return answer?.status === 200 || answer?.status === 404
  }

  /**
   * Every task that the service has, also those whose id no client has read.
   *
   * @returns undefined where it does not say
   */
  async listAll (): Promise<TaskView[] | undefined> {
    const tasks: TaskView[] = []
    for (let cursor: string | null = ''; cursor !== null;) {
      const answer = await this.#askAnyone(`/video-status?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
      if (answer?.status !== 200) return undefined
      // The boundary: what the service says is what is under test.
      const page = answer.body as { items: TaskView[], next_cursor: string | null }
      tasks.push(...page.items)
      cursor = page.next_cursor
    }
    return tasks
  }

  async close (): Promise<void> {
    await this.#agent.destroy()
  }

  async #post (dream: Dream, signal: AbortSignal): Promise<void> {
    const task = await this.#postOnce(dream)
    if (task === undefined || !this.#cancels || !this.#chance.happens(cancelledShare)) return
    await delay(this.#chance.between(0, longestThoughtMs), undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    await this.#ask('POST', `/video-status/${task.id}/cancel`, { mayAnswer: [409] })
    await this.#postOnce(dream)
  }

  async #postOnce ({ key, text, style }: Dream): Promise<AcceptedTask | undefined> {
    const address = this.#chance.happens(calledBackShare) ? this.#newAddress() : undefined
    const query = new URLSearchParams({ dream: text, style, ...(address !== undefined && { callback_url: address }) })
    const answer = await this.#ask('POST', `/generate-video?${query}`, { mayHaveArrived: () => this.#ledger.sent(key, address) })
    if (answer?.status !== 200) return undefined
    const { task_id: id } = answer.body as { task_id?: string }
    if (id === undefined) return undefined
    const task = this.#ledger.accepted(key, id, address)
    this.#nextLook.set(task, Date.now())
    return task
  }

  /** Whom one instance does not answer asks the next, at most each once. */
  async #askAnyone (path: string): Promise<{ status: number, body: unknown } | undefined> {
    for (let asked = 0; asked < this.#urls.length; asked++) {
      const answer = await this.#ask('GET', path)
      if (answer !== undefined) return answer
    }
    return undefined
  }

  async #ask (method: 'GET' | 'POST', path: string, { mayHaveArrived = () => {}, mayAnswer = [] }: Expectation = {}): Promise<{ status: number, body: unknown } | undefined> {
    try {
      const { statusCode: status, body } = await request(this.#nextUrl() + path, {
        method, dispatcher: this.#agent, signal: AbortSignal.timeout(this.#patienceMs[method])
      })
      const text = await body.text()
      mayHaveArrived()
      if (status !== 200 && ![...refusals, ...mayAnswer].includes(status)) this.#ledger.surprised(`${method} ${status}`)
      return { status, body: status === 200 ? this.#parsed(text, method) : text }
    } catch (error) {
      if (!isRefusedConnection(error)) mayHaveArrived()
      return undefined
    }
  }

  #nextUrl (): string {
    return this.#urls[this.#turn++ % this.#urls.length] ?? this.#urls[0]
  }

  #parsed (text: string, method: string): unknown {
    try {
      return JSON.parse(text)
    } catch {
      this.#ledger.surprised(`${method} 200 that is no JSON`)
      return {}
    }
  }
}

function isRefusedConnection (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED'
}
