import { AsyncLocalStorage } from 'node:async_hooks'

/** A span of another part of the same trace, as W3C Trace Context writes it: `00-…-…-01`. */
export type Traceparent = string

const current = new AsyncLocalStorage<Traceparent | undefined>()

/**
 * Runs work that belongs to the trace of a task, so that what it publishes on the channels can be assigned to that trace.
 * @param traceparent of the task; null for a task that is not traced
 */
export function inTrace<T> (traceparent: Traceparent | null, work: () => T): T {
  // Without tracing no context is ever entered, and this costs nothing. With it, the context of another task has to be left.
  if (traceparent === null && current.getStore() === undefined) return work()
  return current.run(traceparent ?? undefined, work)
}

/** The trace to which the present work belongs; undefined for none. */
export function currentTraceparent (): Traceparent | undefined {
  return current.getStore()
}

/** Version 00, with ids that are not zero. Later versions begin with the same members. */
const pattern = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/

export interface SpanReference { traceId: string, spanId: string, isSampled: boolean }

/** @returns undefined for anything that is no valid `traceparent` */
export function parseTraceparent (text: unknown): SpanReference | undefined {
  const [, traceId, spanId, flags] = typeof text === 'string' && text.length <= 200 ? pattern.exec(text) ?? [] : []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

export function formatTraceparent ({ traceId, spanId, isSampled }: SpanReference): Traceparent {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`
}
