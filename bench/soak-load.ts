import { Agent, request } from 'undici'

export interface SoakRates {
  /** a second, both */
  creates: number
  requests: number
}

const tickMs = 100
/** Ids of the last tasks, to ask for. */
const remembered = 200
const longestMs = 10_000

type Method = 'GET' | 'POST'
interface Call { method: Method, path: string, headers?: Record<string, string> }

/** A steady load of every kind of request, whatever the service makes of it. */
export class SoakLoad {
  created = 0
  answered = 0
  /** how often requests failed, by what they failed with */
  failures: Record<string, number> = {}
  #url
  #rates
  #agent = new Agent({ pipelining: 1 })
  #timer: NodeJS.Timeout | undefined
  #underWay = new Set<Promise<void>>()
  #taskIds: string[] = []
  #turn = 0

  /** @param url of the service, without a slash at its end */
  constructor (url: string, rates: SoakRates) {
    this.#url = url
    this.#rates = rates
  }

  start (): void {
    const startedAt = performance.now()
    const sent = { creates: 0, requests: 0 }
    this.#timer = setInterval(() => {
      const seconds = (performance.now() - startedAt) / 1_000
      for (; sent.creates < seconds * this.#rates.creates; sent.creates++) this.#send(this.#create(sent.creates))
      for (; sent.requests < seconds * this.#rates.requests; sent.requests++) this.#send(this.#call(this.#nextCall()))
    }, tickMs)
  }

  /** Sends nothing more and waits for the answers under way. */
  async stop (): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#underWay)
    if (!this.#agent.closed) await this.#agent.close()
  }

  #send (call: Promise<unknown>): void {
    const done = call
      .then(() => { this.answered++ }, (error: Error) => { this.failures[error.message] = (this.failures[error.message] ?? 0) + 1 })
      .finally(() => this.#underWay.delete(done))
    this.#underWay.add(done)
  }

  /** Every tenth with a key. */
  async #create (count: number): Promise<void> {
    const headers: Record<string, string> = count % 10 === 0 ? { 'idempotency-key': `soak-${count}` } : {}
    const body = await this.#call({ method: 'POST', path: `/generate-video?dream=Dream%20number%20${count}&style=Cursed`, headers })
    const { task_id: taskId } = JSON.parse(body) as { task_id: string }
    this.created++
    this.#taskIds.push(taskId)
    if (this.#taskIds.length > remembered) this.#taskIds.shift()
  }

  /** Mostly polls, as the shipped app makes them; a wait, a stream, a list, and what is not there. */
  #nextCall (): Call {
    const turn = this.#turn++
    const newest = this.#taskIds.at(-1) ?? 'none'
    const any = this.#taskIds[turn % Math.max(1, this.#taskIds.length)] ?? 'none'
    switch (turn % 20) {
      case 0: return { method: 'GET', path: `/video-status/${newest}`, headers: { prefer: 'wait=2' } }
      case 1: return { method: 'GET', path: `/video-status/${newest}/events` }
      case 2: return { method: 'GET', path: '/video-status?limit=5' }
      case 3: return { method: 'GET', path: '/video-status/nothing' }
      case 4: return { method: 'POST', path: '/generate-video?style=Wrong' }
      default: return { method: 'GET', path: `/video-status/${any}` }
    }
  }

  async #call ({ method, path, headers = {} }: Call): Promise<string> {
    const answer = await request(`${this.#url}${path}`, {
      method, headers, dispatcher: this.#agent, headersTimeout: longestMs, bodyTimeout: longestMs, signal: AbortSignal.timeout(longestMs)
    })
    return await answer.body.text()
  }
}
