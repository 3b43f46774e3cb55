import type { FastifyHttpOptions } from 'fastify'
import type { Server } from 'node:http'
import { answerError } from './plugins/problem-details.ts'
import { logOptions, RequestLog } from './plugins/request-log.ts'
import { createHttpServer } from './services/http/http-server.ts'
import type { Log } from './services/runtime/log.ts'
import { parseQueryString } from './services/http/query-string.ts'
import { createRedactor } from './services/runtime/redact-secrets.ts'
import { newRequestId } from './services/http/request-id.ts'
import { GracefulClose } from './services/http/graceful-close.ts'
import { openStandardOutput } from './services/runtime/standard-output.ts'

export interface ServerOptions {
  logLevel: string
  /** Where log lines go; stdout where nothing is said. */
  logStream?: { write (line: string): void }
  /** what no log line may hold */
  secrets: readonly string[]
  requestTimeoutMs: number
  timeoutCheckMs: number
  lingeringMs: number
  idleTimeoutMs: number
}

/** A dream of 2,000 four-byte characters is 24 kB in the address; Node's default for all of line and headers is 16 kB. */
const maxHeaderSize = 128 * 1024
const bodyLimit = 1024 * 1024

/** Longer than the 60 s after which the usual load balancers drop an idle connection: the end that waits for requests closes last. */
const keepAliveTimeoutMs = 72_000

/** What makes Fastify answer as the contract says, wherever it is built. */
export function serverOptions ({ logLevel, logStream, secrets, ...timeouts }: ServerOptions) {
  const gracefulClose = new GracefulClose()
  return {
    logger: { ...logOptions(createRedactor(secrets)), level: logLevel, stream: logStream ?? openStandardOutput() },
    logController: new RequestLog(),
    genReqId: newRequestId,
    serverFactory: (handler, { logger }) => {
      const log = logger as Log
      const server = createHttpServer(handler, { maxHeaderSize, keepAliveTimeoutMs, ...timeouts, log })
      gracefulClose.add(server, log)
      return server
    },
    // Fastify puts it on one server only, `localhost` has two: the factory takes care of both.
    clientErrorHandler: () => {},
    frameworkErrors: answerError,
    return503OnClosing: false,
    // Else idle connections would be closed too early: the server's own `close` sees to them.
    forceCloseConnections: false,
    bodyLimit,
    // What may take long at the start, a database that is away, has a limit of its own and says what it waited for.
    pluginTimeout: 0,
    // A path parameter of any length reaches its route, which knows no such task.
    routerOptions: { maxParamLength: maxHeaderSize, querystringParser: parseQueryString, compile: true },
    ajv: { customOptions: { allErrors: true, coerceTypes: true } }
  } satisfies FastifyHttpOptions<Server>
}
