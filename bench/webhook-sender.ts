import { randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { newWebhookSecret } from '../harness/webhook-secret.ts'

/** The prediction of a task, which goes on running at the emulator. */
export interface RunningPrediction { taskId: string, predictionId: string, webhook: string }

/** Sends the webhooks of predictions that end, instead of Replicate. */
export class WebhookSender {
  readonly secret = newWebhookSecret()
  #signer = new Webhook(this.secret)

  /**
   * Says that the prediction has failed: the end of a task that succeeds comes after its video was copied.
   * @returns when it was sent, ms on the clock of `process.hrtime`
   */
  async end ({ predictionId, webhook }: RunningPrediction): Promise<number> {
    const body = JSON.stringify({ id: predictionId, status: 'failed', error: 'Ended by the bench', webhook })
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

/** Every prediction of the emulator, with its task. */
export async function runningPredictions (emulatorUrl: string): Promise<RunningPrediction[]> {
  const predictions = await (await fetch(`${emulatorUrl}/emulator/predictions`)).json() as Array<{ id: string, webhook: string }>
  return predictions.map(({ id, webhook }) => ({ taskId: webhook.slice(webhook.lastIndexOf('/') + 1), predictionId: id, webhook }))
}
