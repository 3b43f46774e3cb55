import type { FastifyHttpOptions } from 'fastify'
import type { Server } from 'node:http'
import { answerError } from './plugins/problem-details.ts'
import { logOptions, RequestLog } from './plugins/request-log.ts'
import { ConnectionLimit } from './services/http/connection-limit.ts'
import { GracefulClose } from './services/http/graceful-close.ts'
import { createHttpServer } from './services/http/http-server.ts'
import { parseQueryString } from './services/http/query-string.ts'
import { requestIdOf } from './services/http/request-id.ts'
import type { TrustedProxies } from './services/http/trusted-proxies.ts'
import { isLoopback, normalizeAddress } from './services/net/ip-address.ts'
import type { Log } from './services/runtime/log.ts'
import { createRedactor } from './services/runtime/redact-secrets.ts'
import { openStandardOutput } from './services/runtime/standard-output.ts'

export interface ServerOptions {
  logLevel: string
  /** the destination of log lines; by default standard output */
  logStream?: { write (line: string): void }
  /** values that no log line may contain */
  secrets: readonly string[]
  trustedProxies: TrustedProxies
  /** open connections of each address that is neither trusted nor that of this machine; 0 for any number */
  maxConnectionsPerAddress: number
  /** whether an address belongs to this machine */
  isLocal?: (address: string) => boolean
  requestTimeoutMs: number
  timeoutCheckMs: number
  lingeringMs: number
  idleTimeoutMs: number
}

/** A dream of 2,000 four-byte characters takes 24 kB in the address. Node's default for request line and headers together is 16 kB. */
const maxHeaderSize = 128 * 1024
const bodyLimit = 1024 * 1024

/** Longer than the 60 s after which common load balancers close idle connections: the server has to close them last. */
const keepAliveTimeoutMs = 72_000

/** @returns the options with which Fastify behaves as the API contract says */
export function serverOptions ({ logLevel, logStream, secrets, trustedProxies, maxConnectionsPerAddress, isLocal = isLoopback, ...timeouts }: ServerOptions) {
  const gracefulClose = new GracefulClose()
  // Shared by both servers of `localhost`.
  let connectionLimit: ConnectionLimit | undefined
  return {
    logger: { ...logOptions(createRedactor(secrets)), level: logLevel, stream: logStream ?? openStandardOutput() },
    logController: new RequestLog(),
    // `trustProxy` is not used: the client-address plugin does its work.
    genReqId: (request) => requestIdOf(request, trustedProxies),
    serverFactory: (handler, { logger }) => {
      const log = logger as Log
      const server = createHttpServer(handler, { maxHeaderSize, keepAliveTimeoutMs, ...timeouts, log })
      connectionLimit ??= new ConnectionLimit({
        maxPerAddress: maxConnectionsPerAddress,
        // A proxy has the connections of all its clients, and limits them itself. One on this machine may not be in TRUST_PROXY.
        isExempt: (remoteAddress) => isLocal(normalizeAddress(remoteAddress) ?? '') || trustedProxies.isFromProxy({ headers: {}, socket: { remoteAddress } }),
        log
      })
      server.on('connection', (socket) => connectionLimit?.admit(socket))
      gracefulClose.add(server, log)
      return server
    },
    // Fastify adds it to one server only, but `localhost` has two. The factory handles these errors for both.
    clientErrorHandler: () => {},
    frameworkErrors: answerError,
    return503OnClosing: false,
    // Otherwise Fastify would close idle connections too early. GracefulClose closes them.
    forceCloseConnections: false,
    bodyLimit,
    // The wait for an unavailable database has its own limit and its own message.
    pluginTimeout: 0,
    // A path parameter of any length reaches its route, which responds that there is no such task.
    routerOptions: { maxParamLength: maxHeaderSize, querystringParser: parseQueryString, compile: true },
    ajv: { customOptions: { allErrors: true, coerceTypes: true } }
  } satisfies FastifyHttpOptions<Server>
}
