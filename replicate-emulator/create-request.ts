import { createHash } from 'node:crypto'
import { parseCancelAfter } from './cancel-after.ts'
import { inputFaults, required, undeclared, wrongType } from './model-inputs.ts'
import { invalidInput, notFound, Problem, type InvalidField } from './problem.ts'
import { isWebhookEvent, webhookEvents, type WebhookEvent } from './webhook-event.ts'

/** What a create asks for, once it is known to be valid. */
export interface CreateRequest {
  model: string
  version: string
  input: Readonly<Record<string, unknown>>
  webhook: string | undefined
  webhookEvents: readonly WebhookEvent[] | undefined
  cancelAfterMs: number | undefined
}

interface CreateCall {
  body: unknown
  /** The model of the path, where the path names one. */
  model: string | undefined
  cancelAfter: string | undefined
  allowHttpWebhooks: boolean
}

type Body = Readonly<Record<string, unknown>>

const commonMembers = ['input', 'webhook', 'webhook_events_filter', 'stream']

/** Reads a create. Throws a 400, 404 or 422 Problem that lists every fault, as Replicate does. */
export function readCreate ({ body, model: pathModel, cancelAfter, allowHttpWebhooks }: CreateCall): CreateRequest {
  if (!isObject(body)) throw new Problem(400, 'The body of the request must be a JSON object.')
  const faults = memberFaults(body, pathModel, allowHttpWebhooks)
  const { model, version } = pathModel === undefined ? readVersion(body.version, faults) : { model: pathModel, version: 'hidden' }
  if (model.startsWith('missing/')) throw notFound()
  const input = isObject(body.input) ? body.input : {}
  if (isObject(body.input)) faults.push(...inputFaults(model, input))
  const cancelAfterMs = readCancelAfter(cancelAfter, faults)
  if (faults.length > 0) throw invalidInput(faults)
  return {
    model,
    version,
    input,
    cancelAfterMs,
    webhook: typeof body.webhook === 'string' ? body.webhook : undefined,
    webhookEvents: Array.isArray(body.webhook_events_filter) ? body.webhook_events_filter.filter(isWebhookEvent) : undefined
  }
}

function memberFaults (body: Body, pathModel: string | undefined, allowHttp: boolean): InvalidField[] {
  const allowed = pathModel === undefined ? [...commonMembers, 'version'] : commonMembers
  return [
    ...Object.keys(body).filter((name) => !allowed.includes(name)).map((name) => undeclared('', name)),
    ...inputMemberFaults(body),
    ...webhookFaults(body.webhook, allowHttp),
    ...filterFaults(body.webhook_events_filter)
  ]
}

function inputMemberFaults (body: Body): InvalidField[] {
  if (!Object.hasOwn(body, 'input')) return [required('', 'input')]
  return isObject(body.input) ? [] : [wrongType('input', 'object', body.input)]
}

function webhookFaults (webhook: unknown, allowHttp: boolean): InvalidField[] {
  if (webhook === undefined || webhook === null) return []
  if (typeof webhook !== 'string') return [wrongType('webhook', 'string', webhook)]
  const protocol = URL.parse(webhook)?.protocol
  if (protocol === 'https:' || (allowHttp && protocol === 'http:')) return []
  return [{ type: 'format', field: 'webhook', description: 'Must be a valid HTTPS URL' }]
}

function filterFaults (filter: unknown): InvalidField[] {
  if (filter === undefined || filter === null) return []
  if (!Array.isArray(filter)) return [wrongType('webhook_events_filter', 'array', filter)]
  if (filter.every(isWebhookEvent)) return []
  return [{ type: 'enum', field: 'webhook_events_filter', description: `Each must be one of the following: ${webhookEvents.join(', ')}` }]
}

/** `owner/name`, `owner/name:version` or the 64 hexadecimal digits of a version. */
function readVersion (given: unknown, faults: InvalidField[]): { model: string, version: string } {
  const parts = typeof given === 'string' ? /^(?:([\w.-]+\/[\w.-]+)(?::([0-9a-f]{64}))?|([0-9a-f]{64}))$/.exec(given) : null
  if (parts === null) {
    faults.push(given === undefined ? required('', 'version') : { type: 'format', field: 'version', description: 'Invalid version or not permitted' })
    return { model: '', version: '' }
  }
  const [, model, ofModel, bare] = parts
  if (bare !== undefined) return { model: `emulated/${bare.slice(0, 12)}`, version: bare }
  return { model: model ?? '', version: ofModel ?? createHash('sha256').update(model ?? '').digest('hex') }
}

function readCancelAfter (header: string | undefined, faults: InvalidField[]): number | undefined {
  if (header === undefined) return undefined
  const ms = parseCancelAfter(header.trim())
  if (ms === undefined) faults.push({ type: 'format', field: 'Cancel-After', description: 'Must be a duration of at least 5 seconds, such as 90, 90s, 5m or 1h30m45s' })
  return ms
}

function isObject (value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
