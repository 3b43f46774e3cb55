import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Log } from '../../services/runtime/log.ts'
import { StartError } from '../../services/runtime/start-error.ts'

export interface MetricsServerOptions {
  host: string
  /** 0 takes a free one */
  port: number
  contentType: string
  scrape: () => Promise<string>
  log: Log
}

/** Longer than Prometheus' default interval of a minute, so that each scrape finds its connection open. */
const keepAliveTimeoutMs = 70_000
const requestTimeoutMs = 10_000

/** Serves `GET /metrics`, and nothing else, on a port of its own. */
export class MetricsServer {
  readonly #options
  readonly #server: Server

  /** @throws StartError if the port cannot be used */
  static async listen (options: MetricsServerOptions): Promise<MetricsServer> {
    const server = new MetricsServer(options)
    await server.#listen()
    return server
  }

  private constructor (options: MetricsServerOptions) {
    this.#options = options
    this.#server = createServer({
      keepAliveTimeout: keepAliveTimeoutMs, requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs
    }, (request, response) => {
      this.#answer(request, response).catch((err: unknown) => {
        options.log.error({ err }, 'A scrape of the metrics has failed')
        send(response, 500, 'The metrics could not be read.\n')
      })
    })
  }

  get address (): AddressInfo {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('The server of the metrics does not listen')
    return address
  }

  /** Waits for scrapes under way. Call `closeConnections` if they take too long. */
  async close (): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  closeConnections (): void {
    this.#server.closeAllConnections()
  }

  async #listen (): Promise<void> {
    const { host, port } = this.#options
    this.#server.listen({ host, port })
    try {
      await once(this.#server, 'listening')
    } catch (error) {
      if (!(error instanceof Error)) throw error
      const isInUse = 'code' in error && error.code === 'EADDRINUSE'
      throw new StartError(`METRICS_PORT cannot be used: ${isInUse ? `another program uses port ${port} of ${host}` : error.message}`, { cause: error })
    }
  }

  async #answer (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path] = (request.url ?? '').split('?')
    if (path !== '/metrics') return send(response, 404, 'The metrics are at /metrics.\n')
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, 'Only GET is allowed.\n', { allow: 'GET, HEAD' })
    const { scrape, contentType } = this.#options
    send(response, 200, await scrape(), { 'content-type': contentType })
  }
}

function send (response: ServerResponse, status: number, body: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', 'content-length': Buffer.byteLength(body), ...headers })
  response.end(body)
}
