import type { ServerResponse } from 'node:http'
import { CallbackReceiver, type ReceivedCallback } from '../harness/callback-receiver.ts'
import { newWebhookSecret, verifyWebhook } from '../harness/webhook-secret.ts'
import type { SeededRandom } from './seeded-random.ts'

/** A callback that the receiver has read. */
export interface Callback {
  address: string
  /** its `webhook-id` */
  id: string
  /** the body; undefined if the signature does not match it */
  message: { type?: unknown, timestamp?: unknown, data?: Record<string, unknown> } | undefined
  /** whether it was answered with a 204 */
  isAccepted: boolean
}

const refusals = ['answered 500', 'left without an answer', 'cut off'] as const
type Refusal = typeof refusals[number]
const refusedShare = 0.4

/**
 * Receives callbacks at any number of addresses and records them. It refuses each message at most once, and none after
 * `acceptAll`: the second attempt comes within seconds, but a third would come after the run.
 */
export class FaultyCallbackReceiver {
  readonly secret = newWebhookSecret()
  readonly callbacks: Callback[] = []
  readonly #random: SeededRandom
  readonly #counts = new Map<string, number>()
  readonly #receiver = new CallbackReceiver((callback, response) => this.#answer(callback, response))
  /** The ids of the messages that were refused once. */
  readonly #refused = new Set<string>()
  readonly #unanswered = new Set<ServerResponse>()
  /** Each kind of refusal occurs once before any occurs again. */
  #upcoming: Refusal[] = []
  #acceptsAll = false
  #addresses = 0

  constructor (random: SeededRandom) {
    this.#random = random
  }

  /** How many messages were accepted, refused in each way, and broken off by the service. */
  get counts (): Map<string, number> {
    const { incomplete } = this.#receiver
    return incomplete === 0 ? this.#counts : new Map([...this.#counts, ['broken off by the service', incomplete]])
  }

  async listen (): Promise<void> {
    await this.#receiver.listen()
  }

  /** Each call gives another address. */
  newAddress (): string {
    return this.#receiver.address(`/caller-${++this.#addresses}`)
  }

  /** Accepts every message from now on, and ends the requests that are still without an answer. */
  acceptAll (): void {
    this.#acceptsAll = true
    for (const response of this.#unanswered) response.destroy()
  }

  async close (): Promise<void> {
    await this.#receiver.close()
  }

  #answer (callback: ReceivedCallback, response: ServerResponse): void {
    const id = String(callback.headers['webhook-id'])
    const isAccepted = this.#acceptsAll || this.#refused.has(id) || !this.#isToRefuse()
    this.callbacks.push({ address: callback.address, id, message: this.#verify(callback), isAccepted })
    if (!isAccepted) return this.#refuse(id, response)
    this.#count('accepted')
    response.writeHead(204).end()
  }

  #verify (callback: ReceivedCallback): Callback['message'] {
    try {
      // The boundary: the verdict compares it with what the client saw.
      return verifyWebhook(this.secret, callback) as Callback['message']
    } catch {
      return undefined
    }
  }

  /** A short run has few messages: its first ones are refused in every way. */
  #isToRefuse (): boolean {
    return this.#refused.size < refusals.length || this.#random.happens(refusedShare)
  }

  #refuse (id: string, response: ServerResponse): void {
    this.#refused.add(id)
    if (this.#upcoming.length === 0) this.#upcoming = this.#random.shuffled(refusals)
    const refusal = this.#upcoming.pop() ?? 'cut off'
    this.#count(refusal)
    switch (refusal) {
      case 'answered 500': response.writeHead(500).end(); break
      case 'left without an answer': this.#unanswered.add(response); break
      case 'cut off': response.destroy(); break
    }
  }

  #count (what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1)
  }
}
