import { createServer, request, type ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { listen } from '../../harness/listen.ts'

/** What the proxy does with streams of events: it passes them on, or holds back their body, or all of them with their headers, until they end. */
export type Streams = 'pass' | 'hold body' | 'hold all'

/** A proxy in front of the service on a port of 127.0.0.1, which can be gone for a while. */
export async function startStudioProxy (t: Test, serviceUrl: string, streams: Streams = 'pass') {
  const proxy = createServer((incoming, outgoing) => {
    const forwarded = request(new URL(incoming.url ?? '/', serviceUrl), { method: incoming.method, headers: incoming.headers }, (answer) => {
      const held = answer.headers['content-type'] === 'text/event-stream' ? streams : 'pass'
      const writeHead = (): ServerResponse => outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      if (held === 'hold body') writeHead().flushHeaders()
      if (held === 'pass') return answer.pipe(writeHead())
      const chunks: Buffer[] = []
      answer.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
        if (held === 'hold all') writeHead()
        outgoing.end(Buffer.concat(chunks))
      })
    })
    forwarded.on('error', () => outgoing.destroy())
    outgoing.on('close', () => forwarded.destroy())
    incoming.pipe(forwarded)
  })
  const port = await listen(proxy)
  const cut = (): void => {
    proxy.close()
    proxy.closeAllConnections()
  }
  t.teardown(cut)
  return {
    url: `http://127.0.0.1:${port}`,
    /** Ends all connections, and refuses new ones. */
    cut,
    restore: async () => { await listen(proxy, port) }
  }
}
