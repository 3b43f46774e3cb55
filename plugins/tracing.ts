import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { RepeatedFailure } from '../services/runtime/repeated-failure.ts'
import { parseTraceparent, type Traceparent } from '../services/telemetry/trace-context.ts'
import { isHealthCheck } from './request-log.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The span of this request, to which a task that it creates belongs; null if it is not traced. */
    traceparent: Traceparent | null
  }
  interface FastifyContextConfig {
    /** Whether a request begins a trace. Other requests are traced only if their client asks for it by `traceparent`. */
    beginsTrace?: boolean
  }
}

export interface TracingOptions {
  /** the base address of a receiver of OTLP over HTTP; undefined: nothing is traced, and no module for it is loaded */
  endpoint: string | undefined
  /** sent with each batch of spans, such as a key */
  headers: Record<string, string>
}

/** The receiver may not answer, and spans are not worth a late stop. */
const closed = { forMs: 2_000, byMs: 22_000 }

/** Sends one trace for each task: from the request that creates it to its callback, across instances and restarts. */
export default fp<TracingOptions>(async (app, { endpoint, headers }) => {
  app.decorateRequest('traceparent', null)
  if (endpoint === undefined) return
  const [{ SpanExporter, traceparentOf }, { traceTasks }] = await Promise.all([import('./opentelemetry/span-exporter.ts'), import('./opentelemetry/task-traces.ts')])
  const { taskStore, log } = app
  const failure = new RepeatedFailure(log, { failed: 'Traces cannot be sent; their spans are lost', succeeded: 'Traces are sent again' })
  const spans = new SpanExporter({ endpoint, headers, onSent: (error) => error === undefined ? failure.succeeded() : failure.failed(error) })
  const readers = traceTasks({ spans, now: taskStore.now, onError: (err) => log.error({ err }, 'A span could not be recorded; the service goes on without it') })
  // After all `onRequest` hooks, so that a request without a valid key begins no trace.
  app.addHook('preParsing', (request, reply, _payload, done) => {
    if (shouldTrace(request)) {
      const { method, routeOptions: { url: route = 'none' }, headers: { traceparent } } = request
      const parent = parseTraceparent(traceparent) === undefined ? undefined : String(traceparent)
      const span = spans.startRequest(`${method} ${route}`, parent, { 'http.request.method': method, 'http.route': route })
      request.traceparent = traceparentOf(span)
      reply.raw.once('close', () => {
        span.setAttributes({ 'http.response.status_code': reply.statusCode, ...(request.taskId && { 'dreamreel.task_id': request.taskId }) })
        span.end()
      })
    }
    done()
  })
  app.addHook('onClose', async () => {
    readers.close()
    const sent = spans.close().catch((err: unknown) => log.debug({ err }, 'The last spans could not be sent'))
    await app.shutdownTimer.waitFor('the last spans to be sent', sent, closed)
  })
}, { name: 'tracing', dependencies: ['lifecycle', 'request-log', 'task-store'] })

/** A client that has decided not to sample its trace is followed. */
function shouldTrace (request: FastifyRequest): boolean {
  if (request.is404 || isHealthCheck(request)) return false
  const reference = parseTraceparent(request.headers.traceparent)
  return reference === undefined ? request.routeOptions.config?.beginsTrace === true : reference.isSampled
}
