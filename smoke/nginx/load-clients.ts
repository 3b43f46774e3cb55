import { randomUUID } from 'node:crypto'
import { createPath, ServiceClient, type Call } from '../../harness/service-client.ts'
import { pause } from '../../harness/until.ts'

/** Part of every dream, unchanged by percent-encoding: a file that contains it contains a dream. */
export const marker = 'moonlitwhale'
/** 2,000 characters, 24 kB in the request line. */
const emojiDream = '🐋'.repeat(2_000)

interface CreatedTask { key: string, taskId: string, hasEnded: boolean }

/** A request that did not get its answer. `at` is when it was noticed, in ms since 1970. */
export interface Failure { at: number, method: string, what: string }

/** Between two creates of a client, and between two polls of a task. */
const pauseMs = { create: 100, poll: 300 }
const timeoutMs = 15_000

/** Clients that create tasks and poll each until it has ended, through nginx: they know of no instances. */
export class LoadClients {
  readonly failures: Failure[] = []
  readonly tasks: CreatedTask[] = []
  /** How many tasks ended with which status and error code. */
  readonly ends = new Map<string, number>()
  requests = 0
  readonly #client: ServiceClient
  readonly #polls = new Set<Promise<void>>()

  /** @param url of nginx */
  constructor (url: string) {
    this.#client = new ServiceClient({ urls: [url], timeoutMs, connections: 64 })
  }

  /** Each of the `clients` creates one task after another until the signal. The last tasks are polled beyond it. */
  async createTasks (clients: number, signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from({ length: clients }, async (_, client) => {
      for (let count = 0; !signal.aborted; count++) {
        await this.#create(client === 0 && count % 4 === 0)
        await pause(pauseMs.create, signal)
      }
    }))
  }

  get open (): CreatedTask[] {
    return this.tasks.filter(({ hasEnded }) => !hasEnded)
  }

  /** Ends all polling. */
  async close (): Promise<void> {
    for (const task of this.tasks) task.hasEnded = true
    await Promise.all(this.#polls)
    await this.#client.close()
  }

  async #create (isLong: boolean): Promise<void> {
    const key = randomUUID()
    const text = `${marker} ${key} `
    // Together exactly 2,000 characters, of which each emoji is two units of the string.
    const dream = isLong ? text + emojiDream.slice(0, (2_000 - text.length) * 2) : `${text}swims through the clouds`
    const answer = await this.#call({ method: 'POST', path: createPath(dream, 'Animated') })
    if (answer === undefined) return
    const task = { key, taskId: String(answer.task_id), hasEnded: false }
    this.tasks.push(task)
    const poll = this.#poll(task).finally(() => this.#polls.delete(poll))
    this.#polls.add(poll)
  }

  async #poll (task: CreatedTask): Promise<void> {
    while (!task.hasEnded) {
      await pause(pauseMs.poll)
      const view = await this.#call({ method: 'GET', path: `/video-status/${task.taskId}` })
      if (view?.status !== 'completed' && view?.status !== 'failed') continue
      task.hasEnded = true
      const end = [view.status, view.error_code].filter(Boolean).join(' ')
      this.ends.set(end, (this.ends.get(end) ?? 0) + 1)
    }
  }

  async #call (call: Call): Promise<Record<string, unknown> | undefined> {
    this.requests++
    const fail = (what: string): void => { this.failures.push({ at: Date.now(), method: call.method, what }) }
    try {
      const { status, text } = await this.#client.call(call)
      if (status === 200) return JSON.parse(text)
      fail(`${status}`)
    } catch (error) {
      fail(String(error))
    }
  }
}
