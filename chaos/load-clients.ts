import { createPath, ServiceClient, type Answer, type Call } from '../harness/service-client.ts'
import { pause } from '../harness/until.ts'
import type { TaskView } from '../services/tasks/task-view.ts'
import { Dreams, type Dream } from './dreams.ts'
import type { Extras } from './extras.ts'
import { hasEnded, type AcceptedTask, type Observations } from './observations.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface LoadClientsOptions {
  /** of the instances of the service, called in turn */
  urls: [string, ...string[]]
  timeoutMs: { POST: number, GET: number }
  random: SeededRandom
  extras: Extras
  observations: Observations
  /** gives a new address of the receiver of callbacks with each call */
  newAddress: () => string
}

const meanCreateIntervalMs = 125
const connectTimeoutMs = 4_000
const maxCreates = 64
const maxPolls = 32
/** of the creates that have a `callback_url` */
const callbackShare = 0.5
/** of the tasks that are cancelled if `cancel` is on, and the time until then */
const cancelledShare = 0.15
const maxCancelDelayMs = 2_000
/** from one poll of a task to the next */
const pollIntervalMs = { open: 600, ended: 4_000 }
/** Statuses with which the service may refuse a request while faults are injected. */
const allowedRefusals = [503]

interface Expectation {
  /** called once, unless it is certain that the request has not reached the service */
  mayHaveArrived?: () => void
  /** further statuses that are expected */
  expectedStatuses?: number[]
}

/** Creates tasks, polls them and cancels some, and records every answer. */
export class LoadClients {
  readonly #client: ServiceClient
  readonly #timeoutMs
  readonly #observations
  readonly #random
  readonly #dreams
  readonly #cancels
  readonly #newAddress
  readonly #creates = new Set<Promise<void>>()
  readonly #nextPoll = new Map<AcceptedTask, number>()

  constructor ({ urls, timeoutMs, random, extras, observations, newAddress }: LoadClientsOptions) {
    this.#client = new ServiceClient({ urls, timeoutMs: timeoutMs.GET, connectTimeoutMs, connections: maxCreates + maxPolls })
    this.#timeoutMs = timeoutMs
    this.#random = random
    this.#observations = observations
    this.#dreams = new Dreams(random, extras.has('same-dreams'))
    this.#cancels = extras.has('cancel')
    this.#newAddress = newAddress
  }

  /** Creates about 8 tasks a second until the signal. No request is repeated. */
  async createTasks (signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#creates.size < maxCreates) {
        const create = this.#createAndMayCancel(this.#dreams.next(), signal).finally(() => this.#creates.delete(create))
        this.#creates.add(create)
      }
      await pause(-Math.log(1 - this.#random.between(0, 1)) * meanCreateIntervalMs, signal)
    }
    await Promise.all(this.#creates)
  }

  /** Polls every task again and again until the signal, each with one request at a time, so that the order of its answers is known. */
  async pollTasks (signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const due = [...this.#nextPoll].filter(([, at]) => at <= Date.now()).slice(0, maxPolls).map(([task]) => task)
      await Promise.all(due.map((task) => this.poll(task)))
      await pause(due.length === maxPolls ? 0 : 50)
    }
  }

  /** @returns whether an instance gave the status of the task, or said that there is no such task */
  async poll (task: AcceptedTask): Promise<boolean> {
    const answer = await this.#callAnyInstance({ method: 'GET', path: `/video-status/${task.id}` })
    if (answer?.status === 404) this.#observations.recordMissing(task)
    // The boundary: the answers of the service are under test, and compared as text.
    if (answer?.status === 200) this.#observations.recordStatus(task, this.#parse(answer.text, 'GET') as TaskView)
    this.#nextPoll.set(task, Date.now() + (hasEnded(task) ? pollIntervalMs.ended : pollIntervalMs.open))
    return answer?.status === 200 || answer?.status === 404
  }

  /**
   * Every task of the service, also those whose id no client has received.
   * @returns undefined if the service does not answer every page
   */
  async listTasks (): Promise<TaskView[] | undefined> {
    try {
      return await this.#client.listTasks('', async (call) => {
        const answer = await this.#callAnyInstance(call)
        if (answer === undefined) throw new Error('No instance answers')
        return answer
      })
    } catch {
      return undefined
    }
  }

  async close (): Promise<void> {
    await this.#client.close()
  }

  async #createAndMayCancel (dream: Dream, signal: AbortSignal): Promise<void> {
    const task = await this.#create(dream)
    if (task === undefined || !this.#cancels || !this.#random.happens(cancelledShare)) return
    await pause(this.#random.between(0, maxCancelDelayMs), signal)
    if (signal.aborted) return
    const answer = await this.#call({ method: 'POST', path: `/video-status/${task.id}/cancel` }, { expectedStatuses: [409] })
    if (answer?.status === 200) this.#parse(answer.text, 'POST')
    await this.#create(dream)
  }

  async #create ({ key, text, style }: Dream): Promise<AcceptedTask | undefined> {
    const address = this.#random.happens(callbackShare) ? this.#newAddress() : undefined
    const answer = await this.#call(
      { method: 'POST', path: createPath(text, style, address) },
      { mayHaveArrived: () => this.#observations.recordCreate(key, address) }
    )
    if (answer?.status !== 200) return undefined
    const { task_id: id } = this.#parse(answer.text, 'POST') as { task_id?: string }
    if (id === undefined) return undefined
    const task = this.#observations.recordAccepted(key, id, address)
    this.#nextPoll.set(task, Date.now())
    return task
  }

  /** Calls one instance after another until one answers. */
  async #callAnyInstance (call: Call): Promise<Answer | undefined> {
    for (let called = 0; called < this.#client.instances; called++) {
      const answer = await this.#call(call)
      if (answer !== undefined) return answer
    }
    return undefined
  }

  async #call (call: Call & { method: 'GET' | 'POST' }, { mayHaveArrived = () => {}, expectedStatuses = [] }: Expectation = {}): Promise<Answer | undefined> {
    const { method } = call
    try {
      const answer = await this.#client.call({ ...call, timeoutMs: this.#timeoutMs[method] })
      mayHaveArrived()
      if (![200, ...allowedRefusals, ...expectedStatuses].includes(answer.status)) this.#observations.recordUnexpected(`${method} ${answer.status}`)
      return answer
    } catch (error) {
      if (!isRefusedConnection(error)) mayHaveArrived()
      return undefined
    }
  }

  #parse (text: string, method: string): unknown {
    try {
      return JSON.parse(text)
    } catch {
      this.#observations.recordUnexpected(`${method} 200 that is no JSON`)
      return {}
    }
  }
}

function isRefusedConnection (error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED'
}
