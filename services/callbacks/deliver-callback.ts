import type { Log } from '../runtime/log.ts'
import type { CallbackDelivery } from '../store/callback-deliveries.ts'
import type { TaskView } from '../tasks/task-view.ts'
import type { Task } from '../tasks/task.ts'
import { callbackAttempted, type CallbackAttemptOutcome } from '../telemetry/channels.ts'
import type { CallbackClient, CallbackResult } from './callback-client.ts'
import { createCallbackMessage, type CallbackSigner } from './callback-message.ts'

export interface DeliverCallbackOptions {
  client: CallbackClient
  signer: CallbackSigner
  present: (task: Task) => TaskView
  /** ms before the second attempt, the third and so on; there is one attempt more than entries */
  schedule: readonly number[]
  userAgent: string
  log: Log
}

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
export const callbackSchedule = [5 * second, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour] as const

const maxRetryAfterMs = 24 * hour
/** Delays each attempt at random by up to a tenth, so that deliveries that failed together are not repeated together. */
const jitter = 0.1

/** Makes one attempt to post the end of a task to its callback address. @returns when to try again; undefined if the delivery is finished */
export async function deliverCallback ({ task, attempt }: CallbackDelivery, options: DeliverCallbackOptions): Promise<{ inMs: number } | undefined> {
  if (task.callbackUrl === null) throw new Error(`Task ${task.id} has no callback address`)
  const { client, signer, present, schedule, userAgent, log } = options
  const body = JSON.stringify(createCallbackMessage(present(task)))
  const headers = { 'content-type': 'application/json', 'user-agent': userAgent, ...signer.sign(task.id, body, new Date()) }
  const startedAt = performance.now()
  const result = await client.post(task.callbackUrl, headers, body)
  const next = scheduleNext(result, schedule[attempt - 1])
  if (callbackAttempted.hasSubscribers) callbackAttempted.publish({ outcome: nameOutcome(result, next), ms: performance.now() - startedAt })
  const details = { task_id: task.id, callback_host: new URL(task.callbackUrl).host, attempt, ...describeResult(result) }
  if (isDelivered(result)) log.info(details, 'Callback delivered')
  else if (isGone(result)) log.info(details, 'Callback refused for good by its receiver')
  else if (next !== undefined) log.warn({ ...details, next_in_s: Math.round(next.inMs / second) }, 'Callback not delivered; trying again')
  else log.error(details, 'Callback not delivered; this was the last attempt')
  return next
}

function nameOutcome (result: CallbackResult, next: object | undefined): CallbackAttemptOutcome {
  if (isDelivered(result)) return 'delivered'
  if (isGone(result)) return 'gone'
  return next === undefined ? 'exhausted' : 'retried'
}

function scheduleNext (result: CallbackResult, delayMs: number | undefined): { inMs: number } | undefined {
  if (isDelivered(result) || isGone(result) || delayMs === undefined) return undefined
  const asked = result.outcome === 'answered' ? result.retryAfterMs ?? 0 : 0
  return { inMs: Math.max(delayMs, Math.min(asked, maxRetryAfterMs)) * (1 + jitter * Math.random()) }
}

function isDelivered (result: CallbackResult): boolean {
  return result.outcome === 'answered' && result.status >= 200 && result.status < 300
}

function isGone (result: CallbackResult): boolean {
  return result.outcome === 'answered' && result.status === 410
}

function describeResult (result: CallbackResult) {
  return result.outcome === 'answered' ? { status: result.status } : { reason: result.reason }
}
