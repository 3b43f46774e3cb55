import { Type, type Static } from '@sinclair/typebox'
import { Webhook } from 'standardwebhooks'
import { TaskSchema, type TaskView } from '../tasks/task-view.ts'

const callbackTypes = ['video.completed', 'video.failed'] as const

/** The message that is posted to a callback address. */
export const CallbackMessageSchema = Type.Object({
  type: Type.Unsafe<typeof callbackTypes[number]>({ type: 'string', enum: callbackTypes, description: 'The event' }),
  timestamp: Type.String({ format: 'date-time', description: 'The time of the event, RFC 3339 in UTC with exactly three fractional digits' }),
  data: Type.Unsafe<Static<typeof TaskSchema>>(Type.Ref('Task'))
}, {
  $id: 'CallbackMessage',
  description: 'The message about the end of a task that is posted to its `callback_url`',
  examples: [{ type: 'video.completed', timestamp: '2026-11-24T08:16:11.402Z', data: TaskSchema.examples[0] }]
})

/** Makes the message. Each attempt sends the task as it is then: a poster may have been added since the one before. */
export function createCallbackMessage (data: TaskView): Static<typeof CallbackMessageSchema> {
  return { type: data.status === 'completed' ? 'video.completed' : 'video.failed', timestamp: data.updated_at, data }
}

/** Signs messages by Standard Webhooks 1.0. While secrets are rotated, each message is signed with every secret. */
export class CallbackSigner {
  #webhooks

  /** @param secrets one or several `whsec_…`, separated by spaces */
  constructor (secrets: string) {
    this.#webhooks = secrets.split(' ').map((secret) => new Webhook(secret))
  }

  /**
   * @param id the id of the message, the same at every attempt
   * @param at the time of the attempt
   * @returns the headers of the signed message
   */
  sign (id: string, body: string, at: Date): Record<string, string> {
    return {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': this.#webhooks.map((webhook) => webhook.sign(id, at, body)).join(' ')
    }
  }
}
