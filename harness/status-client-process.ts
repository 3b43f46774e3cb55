import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** `wait`: long polls of a minute, again and again. `events`: a stream. `poll`: a question every 5 s, as a baseline. */
export type ClientKind = 'wait' | 'events' | 'poll'
export interface ClientsOrder { kind: ClientKind, url: string, taskIds: string[] }
/** `at`: ms on the clock of `process.hrtime`, which all processes of a machine share */
export interface Told { taskId: string, at: number }
export interface ClientsReport { told: Told[], answers: number }

/**
 * A process of clients, one for each task id it is given, so that their work is on nobody else's event loop: nothing but
 * sockets, each kept open. They come as if at any moment of a minute, or of the 5 s of those that poll, and leave once
 * they are told that their task has ended. Ends with its parent.
 */
const pollEverySeconds = 5
const longestWaitSeconds = 60
const openedAtOnce = 50

const told: Told[] = []
let answers = 0

process.on('disconnect', () => process.exit())
process.on('message', (message: ClientsOrder | 'report') => {
  if (message === 'report') process.send?.({ told, answers } satisfies ClientsReport)
  else open(message).then(() => process.send?.('open'))
})

async function open ({ kind, url, taskIds }: ClientsOrder): Promise<void> {
  for (let start = 0; start < taskIds.length; start += openedAtOnce) {
    await Promise.all(taskIds.slice(start, start + openedAtOnce).map((taskId) => join(kind, new URL(url), taskId)))
    await delay(20)
  }
}

async function join (kind: ClientKind, { hostname, port }: URL, taskId: string): Promise<void> {
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  // An answer and an event are one write each, and small: on this machine they come in one piece.
  socket.on('data', (chunk) => hear(chunk.toString('latin1'), kind, taskId, socket))
  switch (kind) {
    case 'wait': return ask(socket, taskId, `Prefer: wait=${Math.ceil(Math.random() * longestWaitSeconds)}\r\n`)
    case 'events': return ask(socket, `${taskId}/events`)
    case 'poll': askLater(socket, taskId, Math.random())
  }
}

function hear (text: string, kind: ClientKind, taskId: string, socket: Socket): void {
  const at = Number(process.hrtime.bigint()) / 1e6
  if (/^HTTP\/1.1 [^2]/.test(text)) throw new Error(text)
  if (text.startsWith('HTTP')) answers++
  if (text.includes('"status":"completed"')) {
    told.push({ taskId, at })
    socket.destroy()
  } else if (kind === 'wait') {
    ask(socket, taskId, `Prefer: wait=${longestWaitSeconds}\r\n`)
  } else if (kind === 'poll') {
    askLater(socket, taskId, 1)
  }
}

function ask (socket: Socket, path: string, headers = ''): void {
  socket.write(`GET /video-status/${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`)
}

function askLater (socket: Socket, taskId: string, share: number): void {
  setTimeout(() => ask(socket, taskId), share * pollEverySeconds * 1_000)
}
