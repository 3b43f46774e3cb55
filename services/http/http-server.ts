import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { problem, problemBody, problemMediaType, reasonPhrase, type ProblemError } from '../../errors.ts'
import type { Log } from '../runtime/log.ts'
import { PipelinedRequests } from './pipelined-requests.ts'
import { newRequestId } from './request-id.ts'
import { closeAfterLingering, maxLingeringBytes } from './lingering-close.ts'

export interface HttpServerOptions {
  /** Bytes of the request line and the headers together. */
  maxHeaderSize: number
  /** How long a whole request may take to arrive. */
  requestTimeoutMs: number
  /** How often requests that arrive too slowly are looked for. */
  timeoutCheckMs: number
  keepAliveTimeoutMs: number
  /** How long the rest of a body may take whose request has been answered already. */
  lingeringMs: number
  /** How long a connection may stand still while a request is under way; more than a client may ask to wait. */
  idleTimeoutMs: number
  log: Log
}

/** How long a refused client may still send before its connection is cut: closing at once could lose the answer. */
const refusalLingeringMs = 2_000

/**
 * Node's server, with a problem as the answer to everything that Node refuses by itself and so never hands to a
 * framework: what is not HTTP, is too large or too slow, wants a tunnel, or expects what cannot be met.
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
    // Node's own answer to a missing Host has no body; whoever handles requests checks it.
    requireHostHeader: false
  }, (request, response) => pipelined.run(request, response, answer))
  // An answer that its client does not read would be kept for ever. What is read slowly moves on, and so does an event stream.
  server.timeout = options.idleTimeoutMs
  server.on('clientError', (error, socket) => refusals.onClientError(error, socket))
  server.on('checkExpectation', (request, response) => {
    pipelined.run(request, response, () => refusals.onExpectation(request, response))
  })
  server.on('connect', (_request, socket) => refusals.onConnect(socket))
  return server
}

class RequestRefusals {
  readonly #log: Log
  readonly #lingeringMs: number
  /** Connections whose last request has its answer, although its body is still on the way. */
  readonly #answered = new WeakSet<Duplex>()
  /** Connections that have failed: Node reports each further chunk on them as one more error. */
  readonly #failed = new WeakSet<Duplex>()

  constructor ({ log, lingeringMs }: HttpServerOptions) {
    this.#log = log
    this.#lingeringMs = lingeringMs
  }

  closeAfterEarlyResponse (request: IncomingMessage, response: ServerResponse): void {
    const { headers, socket } = request
    if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) return
    response.once('finish', () => {
      if (request.complete) return
      this.#answered.add(socket)
      const isComplete = closeAfterLingering(socket, { maxBytes: maxLingeringBytes, timeoutMs: this.#lingeringMs })
      request.once('close', () => {
        this.#answered.delete(socket)
        isComplete()
      })
    })
  }

  onClientError (error: NodeJS.ErrnoException, socket: Duplex): void {
    if (this.#failed.has(socket)) return
    this.#failed.add(socket)
    if (error.code === 'ECONNRESET' || this.#answered.has(socket)) {
      // The packet that failed is on the error, and may hold a dream: only the code is logged.
      this.#log.debug({ reason: error.code }, 'connection broken')
      socket.destroy()
    } else {
      this.#refuseAfterPending(socket, parserProblem(error), error.code)
    }
  }

  /** Answers of earlier requests on the connection go first, and nothing is written into the middle of one. */
  #refuseAfterPending (socket: Duplex, refusal: ProblemError, reason?: string): void {
    const open = pendingResponse(socket)
    if (open?.req.complete === true) {
      open.once('close', () => this.#refuseAfterPending(socket, refusal, reason))
    } else if (open?.headersSent === true || !socket.writable) {
      socket.destroy()
    } else {
      this.#refuse(socket, refusal, reason)
    }
  }

  onConnect (socket: Duplex): void {
    socket.on('error', () => socket.destroy())
    this.#refuse(socket, problem('method_not_allowed', {
      detail: 'CONNECT is not possible, this service is no proxy',
      headers: { allow: '' }
    }), 'CONNECT')
  }

  onExpectation (request: IncomingMessage, response: ServerResponse): void {
    const { status, headers, body, requestId } = buildResponse(problem('expectation_failed'))
    this.closeAfterEarlyResponse(request, response)
    response.writeHead(status, headers).end(body)
    this.#logRefusal(status, requestId, 'Expect')
  }

  #refuse (socket: Duplex, refusal: ProblemError, reason?: string): void {
    const { status, headers, body, requestId } = buildResponse(refusal)
    const lines = Object.entries({ ...headers, date: new Date().toUTCString(), connection: 'close' })
      .map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n${lines.join('')}\r\n${body}`)
    this.#logRefusal(status, requestId, reason)
    closeAfterLingering(socket, { maxBytes: maxLingeringBytes, timeoutMs: refusalLingeringMs })
    socket.resume()
  }

  #logRefusal (status: number, requestId: string, reason = 'unknown'): void {
    this.#log.info({ request_id: requestId, status, reason }, 'request refused')
  }
}

function buildResponse (refusal: ProblemError) {
  const requestId = newRequestId()
  const body = JSON.stringify(problemBody(refusal, requestId))
  const headers = {
    ...refusal.headers,
    'content-type': problemMediaType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-request-id': requestId
  }
  return { status: refusal.statusCode, headers, body, requestId }
}

/** @see https://nodejs.org/api/http.html#event-clienterror */
function parserProblem ({ code }: NodeJS.ErrnoException): ProblemError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT': return problem('request_timeout')
    case 'HPE_HEADER_OVERFLOW': return problem('headers_too_large')
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return problem('payload_too_large', { detail: 'The chunk extensions of the body are too large' })
    case 'HPE_INVALID_URL':
      return problem('bad_request', { detail: 'The address has characters that need to be percent-encoded' })
    default: return problem('bad_request', { detail: 'The request is not valid HTTP/1.1' })
  }
}

/** Node keeps the response that is under way on the socket; there is no public way to ask for it. */
function pendingResponse (socket: Duplex): ServerResponse | undefined {
  return (socket as Duplex & { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}
