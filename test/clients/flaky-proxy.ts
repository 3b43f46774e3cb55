import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { listen } from '../../harness/listen.ts'

/** A fault of the connection: `reset` and `cut` happen after the service has handled the request. */
export type Trouble = 'reset' | 'cut' | 'html' | 'html-200' | 'busy' | 'refused'

const page = '<html><body><h1>502 Bad Gateway</h1></body></html>'

/**
 * A proxy in front of the service with faults for the first requests of each method, in order, and none afterwards.
 * `received` contains the requests that it got, with their `Idempotency-Key`.
 */
export async function startFlakyProxy (t: Test, target: string, troubles: Record<string, Trouble[]>) {
  const received: { method: string, key: string | undefined }[] = []
  const left = structuredClone(troubles)
  const proxy = createServer((request, response) => {
    const { method = 'GET', headers } = request
    const key = headers['idempotency-key']
    received.push({ method, key: Array.isArray(key) ? key[0] : key })
    answer(left[method]?.shift(), request, response).catch(() => response.destroy())
  })

  async function answer (trouble: Trouble | undefined, request: IncomingMessage, response: ServerResponse) {
    switch (trouble) {
      case 'html': return response.writeHead(502, { 'content-type': 'text/html' }).end(page)
      case 'html-200': return response.writeHead(200, { 'content-type': 'text/html' }).end(page)
      case 'busy': return response.writeHead(429, { 'retry-after': '1' }).end()
      case 'refused': return response.writeHead(404, { 'content-type': 'application/problem+json' }).end('{"code":"not_found","detail":"Nothing here"}')
    }
    const headers = new Headers()
    for (const name of ['prefer', 'idempotency-key']) {
      const value = request.headers[name]
      if (typeof value === 'string') headers.set(name, value)
    }
    const passedOn = await fetch(`${target}${request.url}`, { method: request.method ?? 'GET', headers })
    const body = Buffer.from(await passedOn.arrayBuffer())
    if (trouble === 'reset') return request.socket.resetAndDestroy()
    response.writeHead(passedOn.status, { 'content-type': passedOn.headers.get('content-type') ?? '', 'content-length': body.length })
    if (trouble === undefined) return response.end(body)
    response.write(body.subarray(0, 10), () => response.destroy())
  }

  const port = await listen(proxy)
  t.teardown(() => {
    proxy.closeAllConnections()
    proxy.close()
  })
  return { url: `http://127.0.0.1:${port}`, received, left }
}
