import fc from 'fast-check'
import { hostileText } from './hostile-text.ts'
import type { Operation } from './openapi-operations.ts'
import { toHeaderValue } from './requests.ts'
import type { Answer } from './wire.ts'

/** Replaced by the API keys of the run when a request is sent. The tasks of the run belong to the owner. */
export const keyPlaceholders = ['KEY-OWNER', 'KEY-OTHER', 'KEY-EXPIRED'] as const
export type KeyPlaceholder = typeof keyPlaceholders[number]

/** What a request says about its sender, and whether that is the owner of the tasks, another key, or nothing valid. */
export interface CallerPlan {
  kind: 'owner' | 'other' | 'refused'
  headers: ReadonlyArray<readonly [string, string]>
}

const validForms = ['Bearer KEY', 'bearer KEY', 'BEARER KEY', 'Bearer    KEY'] as const

/** Forms that look like a valid one. Each has a valid key, or one that was valid. */
const invalidForms = [
  'KEY', 'Basic KEY', 'Digest KEY', 'Token KEY', 'BearerKEY', 'Bearer,KEY', 'Bearer: KEY', 'Bearer "KEY"', 'Bearer KEY KEY', 'Bearer KEY, Bearer KEY', 'Bearer KEY,KEY',
  'Bearer Bearer KEY', 'Bearer KEYx', 'Bearer xKEY', 'Bearer KEY=', 'Bearer\tKEY', 'Bearer\u00a0KEY', 'B\u00e9arer KEY', 'Bearer KEY\u00ff', 'Bearer %KEY', 'Bearer KEY%00', 'Bearer', 'Bearer '
] as const

const authorization = (value: string) => ['authorization', value] as const
const filled = (forms: readonly string[], key: KeyPlaceholder) => fc.constantFrom(...forms).map((form) => authorization(form.replaceAll('KEY', key)))

const refusedHeaders: fc.Arbitrary<CallerPlan['headers']> = fc.oneof(
  { weight: 4, arbitrary: filled(invalidForms, 'KEY-OWNER').map((header) => [header]) },
  { weight: 1, arbitrary: filled(validForms, 'KEY-EXPIRED').map((header) => [header]) },
  { weight: 1, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.constantFrom('x-api-key', 'proxy-authorization', 'cookie', 'x-authorization').map((name) => [[name, 'Bearer KEY-OWNER'] as const]) },
  { weight: 1, arbitrary: fc.tuple(filled(validForms, 'KEY-OWNER'), fc.oneof(filled(validForms, 'KEY-OTHER'), filled(validForms, 'KEY-OWNER'), filled(invalidForms, 'KEY-OWNER'))) },
  { weight: 2, arbitrary: hostileText.map((text) => [authorization(toHeaderValue(text))]) },
  { weight: 2, arbitrary: hostileText.map((text) => [authorization(`Bearer ${toHeaderValue(text)}`)]) },
  { weight: 1, arbitrary: fc.constantFrom(1_000, 8_000, 60_000).map((times) => [authorization(`Bearer ${'x'.repeat(times)}`)]) }
)

export const callerPlans: fc.Arbitrary<CallerPlan> = fc.oneof(
  { weight: 2, arbitrary: filled(validForms, 'KEY-OWNER').map((header): CallerPlan => ({ kind: 'owner', headers: [header] })) },
  { weight: 3, arbitrary: filled(validForms, 'KEY-OTHER').map((header): CallerPlan => ({ kind: 'other', headers: [header] })) },
  { weight: 4, arbitrary: refusedHeaders.map((headers): CallerPlan => ({ kind: 'refused', headers })) }
)

/** What a request without a valid key may get besides 401: refusals that come before the key is looked at. */
const earlierRefusals = [400, 405, 414, 417, 431]

/**
 * Whether the caller got only what is its own.
 * @param ownerTasks the ids of tasks that belong to the owner
 * @param secrets texts that no answer contains: the keys and their hashes
 * @throws Error with the first rule that the answer breaks
 */
export function checkCaller (kind: CallerPlan['kind'], operation: Operation | undefined, { status, headers, body }: Answer, ownerTasks: readonly string[], secrets: readonly string[]): void {
  const text = `${headers.map((header) => header.join(': ')).join('\n')}\n${body.toString()}`
  if (secrets.some((secret) => text.includes(secret))) throw new Error('An answer contains a key or its hash')
  if (operation === undefined || operation.isPublic || kind === 'owner') return
  if (kind === 'refused') {
    if (status !== 401 && !earlierRefusals.includes(status)) throw new Error(`${operation.operationId} answers ${status} without a valid key`)
    if (status === 401 && !headers.some(([name, value]) => name === 'www-authenticate' && value.startsWith('Bearer'))) throw new Error('A 401 does not say what it needs')
    return
  }
  if (status === 401) throw new Error(`${operation.operationId} refuses a valid key`)
  if (ownerTasks.some((id) => text.includes(id))) throw new Error(`${operation.operationId} names a task of another key`)
  if (operation.path.includes('{task_id}') && (status < 400 || status === 409 || status === 410)) throw new Error(`${operation.operationId} answers ${status} about a task that another key does not have`)
}
