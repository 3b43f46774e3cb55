import { randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { Agent, request } from 'undici'
import { showOutput, showPrediction, type Prediction, type PredictionView } from './prediction.ts'
import type { SkewedClock } from './skewed-clock.ts'
import type { TimerQueue } from './timer-queue.ts'
import type { WebhookEvent } from './webhook-event.ts'

interface Delivery {
  id: string
  address: string
  body: string
  /** The delays in ms before the attempts that are left. */
  retries: readonly number[]
}

const maxConcurrent = 16
const logsIntervalMs = 500
const timeoutMs = 10_000
/** Only the last event is sent again if it fails, for about a minute. */
const retryDelaysMs = [1000, 2000, 4000, 8000, 16_000, 30_000]

interface SenderOptions {
  timers: TimerQueue
  now: () => number
  clock: SkewedClock
  secret: string
}

/** Sends the events of predictions to their webhooks: signed, a few at a time, without following redirects. */
export class WebhookSender {
  readonly counts = { delivered: 0, refused: 0 }
  readonly #timers: TimerQueue
  readonly #now: () => number
  readonly #clock: SkewedClock
  readonly #signer: Webhook
  readonly #agent = new Agent({ connect: { timeout: timeoutMs }, headersTimeout: timeoutMs, bodyTimeout: timeoutMs })
  readonly #completed = new WeakSet<Prediction>()
  readonly #waiting: Delivery[] = []
  #active = 0
  #closed = false

  constructor ({ timers, now, clock, secret }: SenderOptions) {
    this.#timers = timers
    this.#now = now
    this.#clock = clock
    this.#signer = new Webhook(secret)
  }

  /** Schedules the events of a new prediction. */
  scheduleEvents (prediction: Prediction): void {
    if (!hasWebhook(prediction)) return
    this.#timers.schedule(prediction.startsAt, () => this.#start(prediction))
    this.#timers.schedule(prediction.endsAt, () => this.complete(prediction))
  }

  /** Sends the events of the end; only the first call does. */
  complete (prediction: Prediction): void {
    if (!hasWebhook(prediction) || this.#completed.has(prediction)) return
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
    if (prediction.ending.progress) this.#sendLogs(prediction, prediction.startsAt + logsIntervalMs)
  }

  #sendLogs (prediction: Prediction, at: number): void {
    this.#timers.schedule(at, () => {
      if (at >= prediction.endsAt) return
      this.#send(prediction, 'logs', showPrediction(prediction, at))
      this.#sendLogs(prediction, at + logsIntervalMs)
    })
  }

  #send (prediction: Prediction, event: WebhookEvent, view: PredictionView): void {
    const { webhook: address, webhookEvents: wanted } = prediction
    if (address === undefined || (wanted !== undefined && !wanted.includes(event))) return
    const retries = event === 'completed' ? retryDelaysMs : []
    this.#waiting.push({ id: `msg_${randomUUID()}`, address, body: JSON.stringify(view), retries })
    this.#sendWaiting()
  }

  #sendWaiting (): void {
    while (this.#active < maxConcurrent) {
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
    if (!accepted) this.#scheduleRetry(delivery)
    this.#sendWaiting()
  }

  #scheduleRetry (delivery: Delivery): void {
    const [delay, ...retries] = delivery.retries
    if (delay === undefined) return
    this.#timers.schedule(this.#now() + delay, () => {
      this.#waiting.push({ ...delivery, retries })
      this.#sendWaiting()
    })
  }

  async #post ({ id, address, body }: Delivery): Promise<boolean> {
    const sentAt = new Date(this.#clock.read())
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(sentAt.getTime() / 1000)),
      'webhook-signature': this.#signer.sign(id, sentAt, body)
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

function hasWebhook ({ webhook, isForeign }: Prediction): boolean {
  return webhook !== undefined && !isForeign
}
