import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** `wait`: long polls of a minute, one after another. `events`: a stream of events. `poll`: a request every 5 s, as a baseline. */
export type ClientKind = 'wait' | 'events' | 'poll'
export interface ClientsOrder { kind: ClientKind, url: string, taskIds: string[] }
/** `at`: ms on the clock of `process.hrtime`, which all processes of a machine share */
export interface Notification { taskId: string, at: number }
export interface ClientsReport { notifications: Notification[], answers: number }

/**
 * A process of clients, one for each task id that it is given, so that they do not share the event loop of what they
 * measure. Each client is one open socket. The clients begin at a random moment of a minute (those that poll, of 5 s) and
 * leave as soon as they are notified that their task has completed. The process ends with its parent.
 */
const pollIntervalSeconds = 5
const maxWaitSeconds = 60
const openedAtOnce = 50

const notifications: Notification[] = []
let answers = 0

process.on('disconnect', () => process.exit())
process.on('message', (message: ClientsOrder | 'report') => {
  if (message === 'report') process.send?.({ notifications, answers } satisfies ClientsReport)
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
  // An answer and an event are small and one write each: on this machine they arrive in one piece.
  socket.on('data', (chunk) => receive(chunk.toString('latin1'), kind, taskId, socket))
  switch (kind) {
    case 'wait': return ask(socket, taskId, `Prefer: wait=${Math.ceil(Math.random() * maxWaitSeconds)}\r\n`)
    case 'events': return ask(socket, `${taskId}/events`)
    case 'poll': askLater(socket, taskId, Math.random())
  }
}

function receive (text: string, kind: ClientKind, taskId: string, socket: Socket): void {
  const at = Number(process.hrtime.bigint()) / 1e6
  if (/^HTTP\/1.1 [^2]/.test(text)) throw new Error(text)
  if (text.startsWith('HTTP')) answers++
  if (text.includes('"status":"completed"')) {
    notifications.push({ taskId, at })
    socket.destroy()
  } else if (kind === 'wait') {
    ask(socket, taskId, `Prefer: wait=${maxWaitSeconds}\r\n`)
  } else if (kind === 'poll') {
    askLater(socket, taskId, 1)
  }
}

function ask (socket: Socket, path: string, headers = ''): void {
  socket.write(`GET /video-status/${path} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`)
}

/** @param share of the interval between two polls */
function askLater (socket: Socket, taskId: string, share: number): void {
  setTimeout(() => ask(socket, taskId), share * pollIntervalSeconds * 1_000)
}
