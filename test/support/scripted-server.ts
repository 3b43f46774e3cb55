import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface ReceivedRequest {
  method: string
  path: string
  headers: Record<string, string>
  body: string
}

/** Does with the connection whatever the test is about, once a request is there completely. */
export type Script = (socket: Socket, request: ReceivedRequest) => void

/**
 * A server that counts what really arrives and answers with raw bytes, so that it can break every rule of HTTP.
 * @param onConnection for what happens before any request
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
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  const { port } = server.address() as AddressInfo
  return { port, origin: `http://127.0.0.1:${port}`, received, sockets }
}

/** A port of 127.0.0.1 on which nobody listens. */
export async function closedPort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** The bytes of an answer; the connection stays open after it. */
export function answer (status: number, body: unknown = '', headers: Record<string, string> = {}): string {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(text)) })
  return [`HTTP/1.1 ${status} Whatever`, ...lines.map(([name, value]) => `${name}: ${value}`), '', text].join('\r\n')
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
