import { randomBytes, randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'

/** A task's prediction, which is running for all the emulator says. */
export interface Running { taskId: string, predictionId: string, webhook: string }

/** Reports ends of predictions in Replicate's place. */
export class Completions {
  readonly secret = `whsec_${randomBytes(32).toString('base64')}`
  #signer = new Webhook(this.secret)

  /** @returns when it was sent, ms on the clock of `process.hrtime` */
  async report ({ predictionId, webhook }: Running): Promise<number> {
    const body = JSON.stringify({ id: predictionId, status: 'succeeded', output: 'https://replicate.delivery/bench/video.mp4', webhook })
    const [id, now] = [`msg_${randomUUID()}`, new Date()]
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
      'webhook-signature': this.#signer.sign(id, now, body)
    }
    const sentAt = Number(process.hrtime.bigint()) / 1e6
    const { status } = await fetch(webhook, { method: 'POST', headers, body })
    if (status !== 204) throw new Error(`A webhook was answered with ${status}`)
    return sentAt
  }
}

/** Every prediction that the emulator has, with the task that it is for. */
export async function runningAt (emulatorUrl: string): Promise<Running[]> {
  const predictions = await (await fetch(`${emulatorUrl}/emulator/predictions`)).json() as Array<{ id: string, webhook: string }>
  return predictions.map(({ id, webhook }) => ({ taskId: webhook.slice(webhook.lastIndexOf('/') + 1), predictionId: id, webhook }))
}
