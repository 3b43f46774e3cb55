import { createPath, ServiceClient, type Call } from '../harness/service-client.ts'

export interface SoakRates {
  /** a second, both */
  creates: number
  requests: number
}

const tickMs = 100
/** How many ids of the last tasks are kept to ask for. */
const recentTasks = 200
const timeoutMs = 10_000

/** A steady load of every kind of request, however the service answers. */
export class SoakLoad {
  created = 0
  answered = 0
  /** how often requests failed, by the message of their error */
  failures: Record<string, number> = {}
  readonly #client: ServiceClient
  readonly #rates: SoakRates
  readonly #pending = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined
  #taskIds: string[] = []
  #turn = 0

  /** @param url of the service, without a slash at its end */
  constructor (url: string, rates: SoakRates) {
    this.#client = new ServiceClient({ urls: [url], timeoutMs })
    this.#rates = rates
  }

  start (): void {
    const startedAt = performance.now()
    const sent = { creates: 0, requests: 0 }
    this.#timer = setInterval(() => {
      const seconds = (performance.now() - startedAt) / 1_000
      for (; sent.creates < seconds * this.#rates.creates; sent.creates++) this.#send(this.#create(sent.creates))
      for (; sent.requests < seconds * this.#rates.requests; sent.requests++) this.#send(this.#client.call(this.#nextCall()))
    }, tickMs)
  }

  /** Sends nothing more and waits for the answers that are still to come. */
  async stop (): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#pending)
    await this.#client.close()
  }

  #send (call: Promise<unknown>): void {
    const done = call
      .then(() => { this.answered++ }, (error: Error) => { this.failures[error.message] = (this.failures[error.message] ?? 0) + 1 })
      .finally(() => this.#pending.delete(done))
    this.#pending.add(done)
  }

  /** Every tenth create has an idempotency key. */
  async #create (count: number): Promise<void> {
    const headers: Record<string, string> = count % 10 === 0 ? { 'idempotency-key': `soak-${count}` } : {}
    const { text } = await this.#client.call({ method: 'POST', path: createPath(`Dream number ${count}`, 'Cursed'), headers })
    const { task_id: taskId } = JSON.parse(text) as { task_id: string }
    this.created++
    this.#taskIds.push(taskId)
    if (this.#taskIds.length > recentTasks) this.#taskIds.shift()
  }

  /** Mostly polls, as the shipped app makes them; also a long poll, a stream, a list, and requests that are refused. */
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
}
