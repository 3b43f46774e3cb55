import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import type { Test } from 'tap'
import { listen } from '../../harness/listen.ts'

export interface ReceivedSpan {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  /** 2: server, 3: client */
  kind: number
  /** ns since the epoch */
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: Record<string, unknown>
  /** code 2 is an error */
  status: { code?: number, message?: string }
}

interface Value { stringValue?: string, intValue?: number | string, doubleValue?: number, boolValue?: boolean }
interface Attribute { key: string, value: Value }
interface SentSpan extends Omit<ReceivedSpan, 'attributes'> { attributes: Attribute[] }
interface TraceRequest { resourceSpans: Array<{ resource: { attributes: Attribute[] }, scopeSpans: Array<{ spans: SentSpan[] }> }> }

/** A receiver of OTLP over HTTP, with JSON, on a free port of 127.0.0.1 until the test ends. */
export async function startOtlpReceiver (t: Test) {
  const spans: ReceivedSpan[] = []
  const resources: Array<Record<string, unknown>> = []
  const headers: Array<NodeJS.Dict<string | string[]>> = []
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST' || request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/json') {
      response.writeHead(400).end()
      return
    }
    // The boundary: the protocol's own schema.
    const { resourceSpans } = await json(request) as TraceRequest
    headers.push(request.headers)
    for (const { resource, scopeSpans } of resourceSpans) {
      resources.push(readAttributes(resource.attributes))
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) spans.push({ ...span, attributes: readAttributes(span.attributes) })
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  })
  const port = await listen(server)
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${port}`, spans, resources, headers }
}

function readAttributes (attributes: Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.boolValue ?? Number(value.intValue ?? value.doubleValue)]))
}
