import type { FastifyInstance } from 'fastify'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface RawAnswer { status: number, headers: Map<string, string>, body: string }

/** Listens on a free port of 127.0.0.1 and gives a function that opens plain sockets to it. */
export async function listenRaw (t: Test, app: FastifyInstance) {
  const port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
  return () => openRaw(t, port)
}

/** A plain socket to 127.0.0.1, gone when the test ends. */
export async function openRaw (t: Test, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Everything that the server sends until it ends the connection, as a list of answers. */
export async function readAnswers (socket: Socket): Promise<RawAnswer[]> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  await once(socket, 'end')
  return parseAnswers(Buffer.concat(chunks).toString('latin1'))
}

/** The next answer, on a connection that stays open. */
export async function readAnswer (socket: Socket): Promise<RawAnswer> {
  let text = ''
  for (;;) {
    const [chunk] = await once(socket, 'data')
    text += (chunk as Buffer).toString('latin1')
    const [answer] = parseAnswers(text)
    if (answer !== undefined) return answer
  }
}

/** @param text one character for each byte, because Content-Length counts bytes */
function parseAnswers (text: string): RawAnswer[] {
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd === -1) return []
  const [statusLine = '', ...headerLines] = text.slice(0, headEnd).split('\r\n')
  const headers = new Map(headerLines.map((line) => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  }))
  const bodyStart = headEnd + 4
  const bodyEnd = bodyStart + Number(headers.get('content-length') ?? 0)
  if (text.length < bodyEnd) return []
  const answer = { status: Number(statusLine.split(' ')[1]), headers, body: Buffer.from(text.slice(bodyStart, bodyEnd), 'latin1').toString() }
  return [answer, ...parseAnswers(text.slice(bodyEnd))]
}
