import { LogController, type FastifyReply, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Redact } from '../services/runtime/redact-secrets.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The task that the request turned out to be about: routes set it for the log. */
    taskId: string | null
  }
  interface FastifyContextConfig {
    /** Whether machines ask this route every few seconds: its requests are logged at debug, its route logs what changes. */
    isHealthCheck?: boolean
  }
}

/** Notes which task a request is about. */
export default fp(async (app) => {
  app.decorateRequest('taskId', null)
}, { name: 'request-log' })

/**
 * Fastify's own log lines, with a single one for each request. None of them holds an address with its query, a header
 * or a body: that is where the dream is.
 */
export class RequestLog extends LogController {
  constructor () {
    super({ requestIdLogLabel: 'request_id' })
  }

  override incomingRequest (request: FastifyRequest, reply: FastifyReply): void {
    // Unlike `onResponse` and `onRequestAbort`, this event comes for every request, whichever way it ends.
    reply.raw.once('close', () => logEnd(request, reply))
  }

  override requestCompleted (): void {}

  override routeNotFound (): void {}
}

function logEnd (request: FastifyRequest, reply: FastifyReply): void {
  const { headersSent, statusCode, writableEnded } = reply.raw
  request.log[isHealthCheck(request) ? 'debug' : 'info']({
    method: request.method,
    route: request.routeOptions.url ?? 'none',
    ...(request.taskId && { task_id: request.taskId }),
    status: headersSent ? statusCode : null,
    duration_ms: Math.round(reply.elapsedTime * 100) / 100
  }, writableEnded ? 'request' : 'request aborted')
}

/** Whether the request is one of many thousands a day that say nothing new. */
export function isHealthCheck (request: FastifyRequest): boolean {
  return request.routeOptions.config?.isHealthCheck === true
}

/** A query inside a JSON string, escaped characters included. */
const query = /\?(?:\\.|[^\s"\\])+/g

/** What the logger makes of what Fastify and its plugins log, besides the lines above. */
export function logOptions (redact: Redact) {
  return {
    serializers: {
      req: ({ method }: { method?: string }) => ({ ...(method && { method }) }),
      res: ({ statusCode }: { statusCode?: number | string }) => ({ ...(statusCode && { statusCode }) }),
      err: describeError
    },
    // Fastify has messages, of errors too, with the whole address in them; upstream may repeat a secret. This is the one
    // place that all lines pass.
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
