import { Type, type Static } from '@sinclair/typebox'
import { enumSchema } from './enum-schema.ts'
import { repetitionMembers } from './script.ts'

export const calls = ['create', 'get', 'list', 'cancel', 'account', 'secret', 'file', 'thumbnail'] as const
export type Call = typeof calls[number]

const faultKinds = [
  'status', 'html', 'redirect', 'hang', 'reset_before', 'reset_after', 'malformed', 'stall', 'slow', 'empty'
] as const

/**
 * A fault of a call.
 *
 * - `status`, `html`: answers `status` with a problem or a page of HTML; `redirect`: answers 302;
 * - `hang`: never answers; `reset_before`, `reset_after`: a TCP reset before or after the call had its effect;
 * - `malformed`: the answer is cut in the middle; `stall`: it stops there for ever; `slow`: it trickles; `empty`: it has no body.
 */
export const FaultSchema = Type.Object({
  call: enumSchema([...calls, 'any']),
  id: Type.Optional(Type.String({ description: 'Only for calls that name this prediction: get, cancel, file and thumbnail' })),
  kind: enumSchema(faultKinds),
  status: Type.Optional(Type.Integer({ minimum: 400, maximum: 599, description: 'For status and html; default 500' })),
  retry_after: Type.Optional(Type.Number({ minimum: 0, description: 'Seconds, in the body and the header' })),
  detail: Type.Optional(Type.String({ description: 'The sentence of the problem' })),
  to: Type.Optional(Type.String({
    pattern: '^http://(127\\.0\\.0\\.1|\\[::1\\])(:\\d+)?/', description: 'For redirect: an address on this machine; default the same path'
  })),
  after: Type.Optional(Type.Boolean({ description: 'For status, html and hang: the call has its effect all the same' })),
  bytes: Type.Optional(Type.Integer({ minimum: 0, description: 'For malformed and stall: how much of the body is sent; default half of it' })),
  ms: Type.Optional(Type.Integer({ minimum: 0, description: 'For slow: how long the body takes; default 2000' })),
  bytes_per_second: Type.Optional(Type.Integer({ minimum: 1, description: 'For slow, instead of ms' })),
  ...repetitionMembers
}, { $id: 'Fault', additionalProperties: false })

export type Fault = Static<typeof FaultSchema>

/** Whether the call has its effect before the fault. */
export function failsAfterEffect ({ kind, after = false }: Fault): boolean {
  return after || ['reset_after', 'malformed', 'stall', 'slow', 'empty'].includes(kind)
}
