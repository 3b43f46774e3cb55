import { LogController, type FastifyReply, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyRequest {
    /** The task that the request turned out to be about: routes set it for the log. */
    taskId: string | null
  }
}

/** Notes which task a request is about, and logs requests whose client went away before the answer. */
export default fp(async (app) => {
  app.decorateRequest('taskId', null)
  app.addHook('onRequestAbort', (request, done) => {
    request.log.info(linesOf(request), 'request aborted')
    done()
  })
}, { name: 'request-log' })

/**
 * Fastify's own log lines, with one for each answered request. None of them holds an address with its query, a header
 * or a body: that is where the dream is.
 */
export class RequestLog extends LogController {
  constructor () {
    super({ requestIdLogLabel: 'request_id' })
  }

  override incomingRequest (): void {}

  override routeNotFound (): void {}

  override requestCompleted (_error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    logAnswer(request, reply)
  }
}

export function logAnswer (request: FastifyRequest, reply: FastifyReply): void {
  const duration = Math.round(reply.elapsedTime * 100) / 100
  request.log.info({ ...linesOf(request), status: reply.statusCode, duration_ms: duration }, 'request')
}

function linesOf (request: FastifyRequest) {
  const line = { method: request.method, route: request.routeOptions.url ?? 'none' }
  return request.taskId ? { ...line, task_id: request.taskId } : line
}

/** What the logger makes of the objects that Fastify and its plugins log. */
export const logSerializers = {
  req: ({ method }: { method?: string }) => ({ ...(method && { method }) }),
  res: ({ statusCode }: { statusCode?: number | string }) => ({ ...(statusCode && { statusCode }) }),
  err: describeError
}

/** Fastify writes the address into some of its errors. */
const query = /\?[^\s"']*/g

function describeError (error: Error & { code?: string }) {
  return {
    type: error.name,
    message: error.message.replace(query, '?…'),
    stack: stackOf(error).replace(query, '?…'),
    ...(error.code && { code: error.code })
  }
}

function stackOf (error: Error, depth = 0): string {
  const stack = error.stack ?? error.message
  if (!(error.cause instanceof Error) || depth === 5) return stack
  return `${stack}\ncaused by: ${stackOf(error.cause, depth + 1)}`
}
