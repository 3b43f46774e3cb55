import { SpanKind } from '@opentelemetry/api'
import { ChannelReaders } from '../../services/telemetry/channel-readers.ts'
import { callbackAttempted, replicateCallEnded, taskTransitioned, videoCopied } from '../../services/telemetry/channels.ts'
import { StateTimer } from '../../services/telemetry/state-timer.ts'
import { currentTraceparent } from '../../services/telemetry/trace-context.ts'
import type { FinishedSpan, SpanExporter } from './span-exporter.ts'

export interface TaskTracesOptions {
  spans: SpanExporter
  /** the store's clock, ms since the epoch */
  now: () => number
  onError: (error: unknown) => void
}

/** Outcomes that are no failure of the work. */
const goodOutcomes = new Set(['ok', 'withdrawn', 'stored', 'present', 'delivered', 'gone', 'interrupted'])

/**
 * Makes spans of what services publish about tasks that are traced: one for each state of the task, and one for each call, copy and
 * callback. All belong to the request that has created the task.
 * @returns the subscriptions, which the caller closes
 */
export function traceTasks ({ spans, now, onError }: TaskTracesOptions): ChannelReaders {
  const readers = new ChannelReaders(onError)
  const timer = new StateTimer(now)
  readers.on(taskTransitioned, ({ transition, from, to }) => {
    if (from.state === to.state) return
    const { enteredAt, leftAt } = timer.recordChange(from, to)
    if (from.traceparent === null) return
    spans.record({
      parent: from.traceparent,
      name: `task ${from.state}`,
      // After a restart the last change that a client could see is the best that is known.
      startedAt: enteredAt ?? from.updatedAt,
      endedAt: leftAt,
      attributes: { 'dreamreel.task_id': to.id, 'dreamreel.style': to.style, 'dreamreel.transition': transition },
      error: to.failure ?? undefined
    })
  })
  readers.on(replicateCallEnded, ({ call, outcome, ms }) => recordEnded(`replicate ${call}`, SpanKind.CLIENT, outcome, ms ?? 0))
  readers.on(videoCopied, ({ outcome, bytes, ms }) => recordEnded('copy video', SpanKind.INTERNAL, outcome, ms, { 'dreamreel.bytes': bytes }))
  readers.on(callbackAttempted, ({ outcome, ms }) => recordEnded('callback', SpanKind.CLIENT, outcome, ms))
  return readers

  function recordEnded (name: string, kind: SpanKind, outcome: string, ms: number, attributes: FinishedSpan['attributes'] = {}): void {
    const parent = currentTraceparent()
    if (parent === undefined) return
    const endedAt = Date.now()
    spans.record({
      parent,
      name,
      kind,
      startedAt: endedAt - ms,
      endedAt,
      attributes: { ...attributes, 'dreamreel.outcome': outcome },
      error: goodOutcomes.has(outcome) ? undefined : outcome
    })
  }
}
