import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, type Attributes, type Context, type Span } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import packageJson from '../../package.json' with { type: 'json' }
import { formatTraceparent, parseTraceparent, type Traceparent } from '../../services/telemetry/trace-context.ts'

export interface SpanExporterOptions {
  /** the base address of the OTLP receiver, without `/v1/traces` */
  endpoint: string
  headers: Record<string, string>
  /** called after each batch; the error says why its spans are lost, undefined that they were taken */
  onSent: (error: Error | undefined) => void
}

export interface FinishedSpan {
  parent: Traceparent
  name: string
  kind?: SpanKind
  /** ms since the epoch, both */
  startedAt: number
  endedAt: number
  attributes: Attributes
  /** why the work failed, without anything that is private; undefined if it did not */
  error?: string | undefined
}

/** A receiver that does not answer is given up after this time. Spans that wait for it are dropped from 2,048 on. */
const exportTimeoutMs = 5_000

/** Makes spans and sends them, in batches, to a receiver of OTLP over HTTP. It never blocks or fails the work that is traced. */
export class SpanExporter {
  readonly #provider
  readonly #tracer

  constructor ({ endpoint, headers, onSent }: SpanExporterOptions) {
    const exporter = new OTLPTraceExporter({ url: `${endpoint}/v1/traces`, headers, timeoutMillis: exportTimeoutMs })
    const send = exporter.export.bind(exporter)
    // The library reports a failure only to a logger of its own.
    exporter.export = (spans, onResult) => send(spans, (result) => {
      onSent(result.error)
      onResult(result)
    })
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes({ 'service.name': 'dreamreel', 'service.version': packageJson.version }),
      spanProcessors: [new BatchSpanProcessor({ exporter })]
    })
    this.#tracer = this.#provider.getTracer('dreamreel')
  }

  /** Starts the span of a request. The caller ends it. @param parent undefined begins a trace */
  startRequest (name: string, parent: Traceparent | undefined, attributes: Attributes): Span {
    return this.#tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, toContext(parent))
  }

  record ({ parent, name, kind = SpanKind.INTERNAL, startedAt, endedAt, attributes, error }: FinishedSpan): void {
    const span = this.#tracer.startSpan(name, { kind, attributes, startTime: startedAt }, toContext(parent))
    if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error })
    span.end(Math.max(startedAt, endedAt))
  }

  /** Sends what is left. Rejects if the receiver does not take it. */
  close (): Promise<void> {
    return this.#provider.shutdown()
  }
}

export function traceparentOf (span: Span): Traceparent {
  const { traceId, spanId } = span.spanContext()
  return formatTraceparent({ traceId, spanId, isSampled: true })
}

function toContext (parent: Traceparent | undefined): Context {
  const reference = parseTraceparent(parent)
  if (reference === undefined) return ROOT_CONTEXT
  const { traceId, spanId } = reference
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true })
}
