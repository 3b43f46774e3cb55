import { randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { Agent, request } from 'undici'
import type { Agenda } from './timer-queue.ts'
import { showOutput, showPrediction, type Prediction, type PredictionView } from './prediction.ts'
import type { ShownClock } from './skewed-clock.ts'
import type { WebhookEvent } from './webhook-event.ts'

interface Delivery {
  id: string
  address: string
  body: string
  /** Delays in ms before the tries that are left after this one. */
  retries: readonly number[]
}

const MOST_AT_ONCE = 16
const LOGS_EVERY_MS = 500
const TIMEOUT_MS = 10_000
/** Only the last event is tried again, for about a minute. */
const RETRIES_MS = [1000, 2000, 4000, 8000, 16_000, 30_000]

interface SenderOptions {
  agenda: Agenda
  now: () => number
  clock: ShownClock
  secret: string
}

/** Tells webhooks what happens to their predictions: signed, few at a time, redirects not followed. */
export class WebhookSender {
  readonly counts = { delivered: 0, refused: 0 }
  readonly #agenda: Agenda
  readonly #now: () => number
  readonly #clock: ShownClock
  readonly #signer: Webhook
  readonly #agent = new Agent({ connect: { timeout: TIMEOUT_MS }, headersTimeout: TIMEOUT_MS, bodyTimeout: TIMEOUT_MS })
  readonly #completed = new WeakSet<Prediction>()
  readonly #waiting: Delivery[] = []
  #active = 0
  #closed = false

  constructor ({ agenda, now, clock, secret }: SenderOptions) {
    this.#agenda = agenda
    this.#now = now
    this.#clock = clock
    this.#signer = new Webhook(secret)
  }

  /** Plans the events of a new prediction. */
  follow (prediction: Prediction): void {
    if (!isCalledBack(prediction)) return
    this.#agenda.at(prediction.startsAt, () => this.#start(prediction))
    this.#agenda.at(prediction.endsAt, () => this.complete(prediction))
  }

  /** Sends the events of the end, once, however often it is called. */
  complete (prediction: Prediction): void {
    if (!isCalledBack(prediction) || this.#completed.has(prediction)) return
    this.#completed.add(prediction)
    const view = showPrediction(prediction, prediction.endsAt)
    if (view.output !== null) this.#send(prediction, 'output', showOutput(prediction))
    this.#send(prediction, 'completed', view)
  }

  async close (): Promise<void> {
    this.#closed = true
    this.#waiting.length = 0
    await this.#agent.destroy()
  }

  #start (prediction: Prediction): void {
    if (prediction.startsAt >= prediction.endsAt) return
    this.#send(prediction, 'start', showPrediction(prediction, prediction.startsAt))
    if (prediction.ending.progress) this.#sendLogs(prediction, prediction.startsAt + LOGS_EVERY_MS)
  }

  #sendLogs (prediction: Prediction, at: number): void {
    this.#agenda.at(at, () => {
      if (at >= prediction.endsAt) return
      this.#send(prediction, 'logs', showPrediction(prediction, at))
      this.#sendLogs(prediction, at + LOGS_EVERY_MS)
    })
  }

  #send (prediction: Prediction, event: WebhookEvent, view: PredictionView): void {
    const { webhook: address, webhookEvents: wanted } = prediction
    if (address === undefined || (wanted !== undefined && !wanted.includes(event))) return
    const retries = event === 'completed' ? RETRIES_MS : []
    this.#waiting.push({ id: `msg_${randomUUID()}`, address, body: JSON.stringify(view), retries })
    this.#pump()
  }

  #pump (): void {
    while (this.#active < MOST_AT_ONCE) {
      const delivery = this.#waiting.shift()
      if (delivery === undefined) return
      this.#active += 1
      this.#deliver(delivery) // never rejects
    }
  }

  async #deliver (delivery: Delivery): Promise<void> {
    const accepted = await this.#post(delivery)
    this.#active -= 1
    if (this.#closed) return
    this.counts[accepted ? 'delivered' : 'refused'] += 1
    if (!accepted) this.#tryAgain(delivery)
    this.#pump()
  }

  #tryAgain (delivery: Delivery): void {
    const [delay, ...retries] = delivery.retries
    if (delay === undefined) return
    this.#agenda.at(this.#now() + delay, () => {
      this.#waiting.push({ ...delivery, retries })
      this.#pump()
    })
  }

  async #post ({ id, address, body }: Delivery): Promise<boolean> {
    const sentAt = new Date(this.#clock.shown())
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(sentAt.getTime() / 1000)),
      'webhook-signature': this.#signer.sign(id, sentAt, body),
    }
    try {
      const response = await request(address, { method: 'POST', headers, body, dispatcher: this.#agent })
      await response.body.dump()
      return response.statusCode >= 200 && response.statusCode < 300
    } catch {
      return false
    }
  }
}

function isCalledBack ({ webhook, isForeign }: Prediction): boolean {
  return webhook !== undefined && !isForeign
}
