import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import type { Chance } from './seeded-random.ts'

/** What came to one of the receiver's addresses. */
export interface Callback {
  address: string
  /** its `webhook-id` */
  id: string
  /** the body; undefined where the signature does not fit it */
  message: { type?: unknown, timestamp?: unknown, data?: Record<string, unknown> } | undefined
  /** whether it was answered with a 204 */
  isTaken: boolean
}

const refusals = ['answered 500', 'left without an answer', 'cut off'] as const
type Refusal = typeof refusals[number]
const refusedShare = 0.4

/**
 * Takes callbacks at any number of addresses and writes down what it is told. It refuses a message once at most, and in
 * calm none: the second attempt comes within seconds, the third would come after the run.
 */
export class CallbackReceiver {
  readonly secret = `whsec_${randomBytes(32).toString('base64')}`
  readonly callbacks: Callback[] = []
  /** How often it took a message, and in what way it did not. */
  readonly counts = new Map<string, number>()
  readonly #webhook = new Webhook(this.secret)
  readonly #chance: Chance
  readonly #server = createServer((request, response) => { this.#receive(request, response).catch(() => this.#count('broken off by the service')) })
  /** Messages that have had their refusal. */
  readonly #refused = new Set<string>()
  readonly #unanswered = new Set<ServerResponse>()
  /** Every way comes once before any comes again. */
  #toCome: Refusal[] = []
  #isCalm = false
  #origin = ''
  #given = 0

  constructor (chance: Chance) {
    this.#chance = chance
  }

  async listen (): Promise<void> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    // The boundary: a server on a port has an address of this kind.
    this.#origin = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** An address that nobody else is given. */
  newAddress (): string {
    return `${this.#origin}/caller-${++this.#given}`
  }

  /** From here on every message is taken, and who waits for an answer waits no longer. */
  calm (): void {
    this.#isCalm = true
    for (const response of this.#unanswered) response.destroy()
  }

  async close (): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  /** @throws where the service, killed in the middle of it, sends half a message */
  async #receive (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request)
    const { id, message } = this.#read(request, body)
    const isTaken = this.#isCalm || this.#refused.has(id) || !this.#isToRefuse()
    this.callbacks.push({ address: `${this.#origin}${request.url}`, id, message, isTaken })
    if (!isTaken) return this.#refuse(id, response)
    this.#count('taken')
    response.writeHead(204).end()
  }

  #read ({ headers }: IncomingMessage, body: string): Pick<Callback, 'id' | 'message'> {
    const texts = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
    const id = String(headers['webhook-id'])
    try {
      // The boundary: the verdict compares it with what the client saw.
      return { id, message: this.#webhook.verify(body, texts) as Callback['message'] }
    } catch {
      return { id, message: undefined }
    }
  }

  /** A short storm brings few messages: the first ones try every way. */
  #isToRefuse (): boolean {
    return this.#refused.size < refusals.length || this.#chance.happens(refusedShare)
  }

  #refuse (id: string, response: ServerResponse): void {
    this.#refused.add(id)
    if (this.#toCome.length === 0) this.#toCome = this.#chance.shuffled(refusals)
    const refusal = this.#toCome.pop() ?? 'cut off'
    this.#count(refusal)
    switch (refusal) {
      case 'answered 500': response.writeHead(500).end(); break
      case 'left without an answer': this.#unanswered.add(response); break
      case 'cut off': response.destroy(); break
    }
  }

  #count (what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }
}
