import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { problem, problemBody, problemMediaType, reasonPhrase, type ProblemError } from '../../errors.ts'
import { normalizeAddress } from '../net/ip-address.ts'
import type { Log } from '../runtime/log.ts'
import { requestEnded } from '../telemetry/channels.ts'
import { closeAfterLingering, maxLingeringBytes } from './lingering-close.ts'
import { newRequestId } from './request-id.ts'

export interface RequestRefusalsOptions {
  /** how long the rest of a body may take after its request has been answered */
  lingeringMs: number
  log: Log
}

/** How long a refused client may go on sending before its connection is closed: closing at once could lose the response. */
const refusalLingeringMs = 2_000

/** Responds to the requests that Node's server refuses, and closes connections whose response came before the end of the body. */
export class RequestRefusals {
  readonly #log: Log
  readonly #lingeringMs: number
  /** Connections whose last request has been answered although its body is still arriving. */
  readonly #answered = new WeakSet<Duplex>()
  /** Connections that have failed. Node reports each further chunk on them as another error. */
  readonly #failed = new WeakSet<Duplex>()

  constructor ({ log, lingeringMs }: RequestRefusalsOptions) {
    this.#log = log
    this.#lingeringMs = lingeringMs
  }

  /** If the response is complete before the request's body is, the rest of the body is read within limits and thrown away. */
  closeAfterEarlyResponse (request: IncomingMessage, response: ServerResponse): void {
    const { headers, socket } = request
    if (headers['content-length'] === undefined && headers['transfer-encoding'] === undefined) return
    response.once('finish', () => {
      if (request.complete) return
      this.#answered.add(socket)
      const stopLingering = closeAfterLingering(socket, { maxBytes: maxLingeringBytes, timeoutMs: this.#lingeringMs })
      request.once('close', () => {
        this.#answered.delete(socket)
        stopLingering()
      })
    })
  }

  onClientError (error: NodeJS.ErrnoException, socket: Duplex): void {
    if (this.#failed.has(socket)) return
    this.#failed.add(socket)
    if (error.code === 'ECONNRESET' || this.#answered.has(socket)) {
      // Only the code is logged: the error holds the packet that failed, and a dream may be in it.
      this.#log.debug({ reason: error.code }, 'connection broken')
      socket.destroy()
    } else {
      this.#refuseAfterPending(socket, parserProblem(error), error.code)
    }
  }

  onConnect (socket: Duplex): void {
    socket.on('error', () => socket.destroy())
    this.#refuse(socket, problem('method_not_allowed', {
      detail: 'CONNECT is not possible, because this service is no proxy',
      headers: { allow: '' }
    }), 'CONNECT')
  }

  onExpectation (request: IncomingMessage, response: ServerResponse): void {
    const { status, headers, body, requestId } = buildResponse(problem('expectation_failed'))
    this.closeAfterEarlyResponse(request, response)
    response.writeHead(status, headers).end(body)
    this.#logRefusal(request.socket, status, requestId, 'Expect')
  }

  /** Responses to earlier requests on the connection are sent first, and nothing is written into the middle of one. */
  #refuseAfterPending (socket: Duplex, refusal: ProblemError, reason?: string): void {
    const pending = pendingResponse(socket)
    if (pending?.req.complete === true) {
      pending.once('close', () => this.#refuseAfterPending(socket, refusal, reason))
    } else if (pending?.headersSent === true || !socket.writable) {
      socket.destroy()
    } else {
      this.#refuse(socket, refusal, reason)
    }
  }

  #refuse (socket: Duplex, refusal: ProblemError, reason?: string): void {
    const { status, headers, body, requestId } = buildResponse(refusal)
    const lines = Object.entries({ ...headers, date: new Date().toUTCString(), connection: 'close' })
      .map(([name, value]) => `${name}: ${value}\r\n`)
    socket.end(`HTTP/1.1 ${status} ${reasonPhrase(status)}\r\n${lines.join('')}\r\n${body}`)
    this.#logRefusal(socket, status, requestId, reason)
    closeAfterLingering(socket, { maxBytes: maxLingeringBytes, timeoutMs: refusalLingeringMs })
    socket.resume()
  }

  #logRefusal (socket: Duplex, status: number, requestId: string, reason = 'unknown'): void {
    this.#log.info({ request_id: requestId, client: peerOf(socket), status, reason }, 'request refused')
    if (requestEnded.hasSubscribers) requestEnded.publish({ method: 'unknown', route: null, status, ms: 0 })
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
    'x-request-id': requestId,
    'x-content-type-options': 'nosniff'
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

/** The address at the other end of the connection: the client, or a proxy whose headers are not known here. */
function peerOf (socket: Duplex): string {
  // Node's types leave open what a server for other transports passes.
  return normalizeAddress((socket as Socket).remoteAddress ?? '') ?? ''
}

/** Node keeps the response in progress on the socket. There is no public way to get it. */
function pendingResponse (socket: Duplex): ServerResponse | undefined {
  return (socket as Duplex & { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}
