import { LogController, type FastifyReply, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Redact } from '../services/runtime/redact-secrets.ts'
import { requestEnded } from '../services/telemetry/channels.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The task of the request. Routes set it for the log. */
    taskId: string | null
  }
  interface FastifyContextConfig {
    /** Whether probes call this route every few seconds. Its requests are logged at debug, and the route itself logs changes. */
    isHealthCheck?: boolean
  }
}

/** Lets routes note for the log which task a request is about. */
export default fp(async (app) => {
  app.decorateRequest('taskId', null)
}, { name: 'request-log' })

/** Replaces Fastify's request log by one line for each request, without query, headers and body: they contain the dream. */
export class RequestLog extends LogController {
  constructor () {
    super({ requestIdLogLabel: 'request_id' })
  }

  override incomingRequest (request: FastifyRequest, reply: FastifyReply): void {
    // Read now, because a connection that is closed has no address.
    const client = request.ip
    // Unlike `onResponse` and `onRequestAbort` this event is emitted for every request, however it ends.
    reply.raw.once('close', () => logEnd(request, reply, client))
  }

  override requestCompleted (): void {}

  override routeNotFound (): void {}

  override streamError (error: Error, request: FastifyRequest): void {
    // A client that has left: the line of the request says so.
    if ('code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE') return
    request.log.warn({ err: error }, 'An answer was cut off, because its content could not be read to the end')
  }
}

function logEnd (request: FastifyRequest, reply: FastifyReply, client: string): void {
  const { headersSent, statusCode, writableEnded } = reply.raw
  const { method } = request
  const { url: route, config } = request.routeOptions
  const ms = reply.elapsedTime
  const status = headersSent ? statusCode : null
  request.log[config?.isHealthCheck === true ? 'debug' : 'info']({
    method,
    route: route ?? 'none',
    client,
    ...(request.taskId && { task_id: request.taskId }),
    // Only its name. Requests that are refused earlier than in a scope with callers have none.
    ...(request.caller?.keyName && { key: request.caller.keyName }),
    status,
    duration_ms: Math.round(ms * 100) / 100
  }, writableEnded ? 'request' : 'request aborted')
  if (requestEnded.hasSubscribers) requestEnded.publish({ method, route: route ?? null, status, ms })
}

/** Whether the route of the request is marked as a health check. */
export function isHealthCheck (request: FastifyRequest): boolean {
  return request.routeOptions.config?.isHealthCheck === true
}

/** A query string inside a JSON string, with its escaped characters. */
const query = /\?(?:\\.|[^\s"\\])+/g

/** Options of the logger for lines that Fastify and its plugins write by themselves. */
export function logOptions (redact: Redact) {
  return {
    serializers: {
      req: ({ method }: { method?: string }) => ({ ...(method && { method }) }),
      res: ({ statusCode }: { statusCode?: number | string }) => ({ ...(statusCode && { statusCode }) }),
      err: describeError
    },
    // Some messages and errors of Fastify contain the whole address of a request, and Replicate may repeat a secret in a response.
    // This is the only place that all lines pass.
    hooks: { streamWrite: (line: string) => redact(line.replace(query, '?…')) }
  }
}

function describeError (error: Error & { code?: string }) {
  return { type: error.name, message: error.message, stack: describeStack(error), ...(error.code && { code: error.code }) }
}

function describeStack (error: Error, depth = 0): string {
  const stack = error.stack ?? error.message
  if (!(error.cause instanceof Error) || depth === 5) return stack
  return `${stack}\ncaused by: ${describeStack(error.cause, depth + 1)}`
}
