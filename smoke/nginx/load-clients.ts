import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { Agent, request } from 'undici'

/** In every dream, unchanged by percent-encoding: where it turns up in a file, a dream has leaked. */
export const marker = 'moonlitwhale'
/** 2,000 characters, 24 kB in the request line. */
const emojiDream = '🐋'.repeat(2_000)

interface Wish { key: string, taskId: string, isOver: boolean }

/** A request that did not get its answer. `at` is when it was noticed, in ms since 1970. */
export interface Failure { at: number, method: string, what: string }

/** Between two dreams of a client, and between two looks at a task; ms. */
const pauseMs = { dreams: 100, looks: 300 }
const longestAnswerMs = 15_000

/** Clients that post dreams and poll each until it has ended, all through nginx, with no idea of instances. */
export class Crowd {
  readonly failures: Failure[] = []
  readonly wishes: Wish[] = []
  readonly endings = new Map<string, number>()
  requests = 0
  readonly #url
  readonly #agent = new Agent({ connections: 64 })
  readonly #polls = new Set<Promise<void>>()

  /** @param url of nginx */
  constructor (url: string) {
    this.#url = url
  }

  /** `clients` of them, one dream after another, until the signal; the last tasks are polled on. */
  async dream (clients: number, signal: AbortSignal): Promise<void> {
    await Promise.all(Array.from({ length: clients }, async (_, client) => {
      for (let count = 0; !signal.aborted; count++) {
        await this.#wish(client === 0 && count % 4 === 0)
        await delay(pauseMs.dreams, undefined, { signal }).catch(() => undefined)
      }
    }))
  }

  get open (): Wish[] {
    return this.wishes.filter(({ isOver }) => !isOver)
  }

  /** Ends all polling. */
  async leave (): Promise<void> {
    for (const wish of this.wishes) wish.isOver = true
    await Promise.all(this.#polls)
    await this.#agent.destroy()
  }

  async #wish (isLong: boolean): Promise<void> {
    const key = randomUUID()
    // The marker would make the emoji's dream longer than 2,000 characters: it is known by its first ones then.
    const text = `${marker} ${key} `
    const dream = isLong ? text + emojiDream.slice(0, (2_000 - text.length) * 2) : `${text}swims through the clouds`
    const answer = await this.#ask('POST', `/generate-video?${new URLSearchParams({ dream, style: 'Animated' })}`)
    if (answer === undefined) return
    const wish = { key, taskId: String(answer.task_id), isOver: false }
    this.wishes.push(wish)
    const poll = this.#poll(wish).finally(() => this.#polls.delete(poll))
    this.#polls.add(poll)
  }

  async #poll (wish: Wish): Promise<void> {
    while (!wish.isOver) {
      await delay(pauseMs.looks)
      const task = await this.#ask('GET', `/video-status/${wish.taskId}`)
      if (task?.status !== 'completed' && task?.status !== 'failed') continue
      wish.isOver = true
      const ending = [task.status, task.error_code].filter(Boolean).join(' ')
      this.endings.set(ending, (this.endings.get(ending) ?? 0) + 1)
    }
  }

  async #ask (method: 'GET' | 'POST', path: string): Promise<Record<string, unknown> | undefined> {
    this.requests++
    const fail = (what: string): void => { this.failures.push({ at: Date.now(), method, what }) }
    try {
      const { statusCode, body } = await request(this.#url + path, {
        method, dispatcher: this.#agent, signal: AbortSignal.timeout(longestAnswerMs)
      })
      const text = await body.text()
      if (statusCode === 200) return JSON.parse(text)
      fail(`${statusCode}`)
    } catch (error) {
      fail(String(error))
    }
  }
}
