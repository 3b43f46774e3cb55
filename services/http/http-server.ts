import { createServer, type RequestListener, type Server } from 'node:http'
import type { Log } from '../runtime/log.ts'
import { PipelinedRequests } from './pipelined-requests.ts'
import { RequestRefusals } from './request-refusals.ts'

export interface HttpServerOptions {
  /** bytes of the request line and the headers together */
  maxHeaderSize: number
  /** how long a whole request may take to arrive */
  requestTimeoutMs: number
  /** how often the server searches for requests that arrive too slowly */
  timeoutCheckMs: number
  keepAliveTimeoutMs: number
  /** how long the rest of a body may take after its request has been answered */
  lingeringMs: number
  /** how long a connection may be idle while a request is in progress; longer than a client may ask to wait */
  idleTimeoutMs: number
  log: Log
}

/**
 * Creates Node's HTTP server, with a problem document as the response to every request that Node itself refuses and therefore never
 * passes to a framework: requests that are not HTTP, are too large or too slow, ask for a tunnel, or expect what cannot be met.
 */
export function createHttpServer (handler: RequestListener, options: HttpServerOptions): Server {
  const refusals = new RequestRefusals(options)
  const pipelined = new PipelinedRequests(options.log)
  const answer: RequestListener = (request, response) => {
    refusals.closeAfterEarlyResponse(request, response)
    handler(request, response)
  }
  const server = createServer({
    maxHeaderSize: options.maxHeaderSize,
    requestTimeout: options.requestTimeoutMs,
    headersTimeout: options.requestTimeoutMs,
    connectionsCheckingInterval: options.timeoutCheckMs,
    keepAliveTimeout: options.keepAliveTimeoutMs,
    // Node's own response to a missing Host has no body. The problem-details plugin checks the header instead.
    requireHostHeader: false
  }, (request, response) => pipelined.run(request, response, answer))
  // Without this limit a response that its client does not read would be kept for ever. A client that reads slowly is not idle, and
  // neither is an event stream.
  server.timeout = options.idleTimeoutMs
  server.on('clientError', (error, socket) => refusals.onClientError(error, socket))
  server.on('checkExpectation', (request, response) => {
    pipelined.run(request, response, () => refusals.onExpectation(request, response))
  })
  server.on('connect', (_request, socket) => refusals.onConnect(socket))
  return server
}
