import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import { listen } from '../../harness/listen.ts'

export interface ReceivedRequest {
  method: string
  path: string
  headers: Record<string, string>
  body: string
}

/** Called with each complete request; it answers, or treats the connection as the test requires. */
export type Script = (socket: Socket, request: ReceivedRequest) => void

/**
 * A server that records the requests that arrive and answers with raw bytes, so that it can break every rule of HTTP.
 * @param onConnection called with each connection, before its first request
 */
export async function startScriptedServer (t: Test, script: Script, onConnection: (socket: Socket) => void = () => undefined) {
  const received: ReceivedRequest[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    onConnection(socket)
    let pending = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      pending += chunk
      const request = parseRequest(pending)
      if (request === undefined) return
      pending = ''
      received.push(request)
      script(socket, request)
    })
  })
  const port = await listen(server)
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return { port, origin: `http://127.0.0.1:${port}`, received, sockets }
}

/** The bytes of an answer; the connection stays open after it. */
export function answer (status: number, body: unknown = '', headers: Record<string, string> = {}): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(text)) })
  return [`HTTP/1.1 ${status} Reason`, ...lines.map(([name, value]) => `${name}: ${value}`), '', text].join('\r\n')
}

function parseRequest (bytes: string): ReceivedRequest | undefined {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const [requestLine = '', ...lines] = bytes.slice(0, end).split('\r\n')
  const headers = Object.fromEntries(lines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  }))
  const body = bytes.slice(end + 4)
  if (body.length < Number(headers['content-length'] ?? 0)) return undefined
  const [method = '', path = ''] = requestLine.split(' ')
  return { method, path, headers, body: Buffer.from(body, 'latin1').toString() }
}
