import { Type, type Static } from '@sinclair/typebox'
import { Webhook } from 'standardwebhooks'
import type { Task } from '../tasks/task.ts'
import { presentTask, TaskSchema } from '../tasks/task-view.ts'

const callbackTypes = ['video.completed', 'video.failed'] as const

/** What a callback address is sent. */
export const CallbackMessageSchema = Type.Object({
  type: Type.Unsafe<typeof callbackTypes[number]>({ type: 'string', enum: callbackTypes, description: 'What happened' }),
  timestamp: Type.String({ format: 'date-time', description: 'When it happened, RFC 3339 in UTC with exactly three fractional digits' }),
  data: Type.Unsafe<Static<typeof TaskSchema>>(Type.Ref('Task'))
}, {
  $id: 'CallbackMessage',
  description: 'The end of a task, as its `callback_url` is told it',
  examples: [{ type: 'video.completed', timestamp: '2026-11-24T08:16:11.402Z', data: TaskSchema.examples[0] }]
})

/** The same words at every attempt: a task that has ended never changes. */
export function createCallbackMessage (task: Task): Static<typeof CallbackMessageSchema> {
  const data = presentTask(task)
  return { type: task.state === 'completed' ? 'video.completed' : 'video.failed', timestamp: data.updated_at, data }
}

/** Signs by Standard Webhooks 1.0, with every secret at once while one takes the place of another. */
export class CallbackSigner {
  #webhooks

  /** @param secrets `whsec_…`, several parted by spaces */
  constructor (secrets: string) {
    this.#webhooks = secrets.split(' ').map((secret) => new Webhook(secret))
  }

  /**
   * @param id of the message, the same at every attempt
   * @param at the time of the attempt
   */
  sign (id: string, body: string, at: Date): Record<string, string> {
    return {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': this.#webhooks.map((webhook) => webhook.sign(id, at, body)).join(' ')
    }
  }
}
