import { connect, type OnReadOpts } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** One buffer for all: what arrives is only counted, so that the reader costs little beside the server. */
const buffer = Buffer.alloc(1024 * 1024)

/** Downloads a file again and again for `ms`, over that number of connections. @returns bytes a second */
export async function readFast (url: string, readers: number, ms: number): Promise<number> {
  let bytes = 0
  const stopAt = performance.now() + ms
  const sockets = new Set<{ destroy: () => void }>()
  const download = (): void => {
    if (performance.now() >= stopAt) return
    const socket = request(url, (received) => { bytes += received })
    sockets.add(socket)
    socket.on('close', () => {
      sockets.delete(socket)
      download()
    })
  }
  for (let reader = 0; reader < readers; reader++) download()
  await delay(ms)
  const total = bytes
  for (const socket of sockets) socket.destroy()
  return total * 1_000 / ms
}

/** Opens downloads that take 64 kB a second each. @returns how all of them end */
export function readSlowly (url: string, readers: number): () => void {
  const sockets = Array.from({ length: readers }, () => {
    const { hostname, port, pathname } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port) }).on('error', () => {}).pause()
    socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: close\r\n\r\n`)
    return socket
  })
  const timer = setInterval(() => { for (const socket of sockets) socket.read() }, 250)
  return () => {
    clearInterval(timer)
    for (const socket of sockets) socket.destroy()
  }
}

function request (url: string, onBytes: (received: number) => void) {
  const { hostname, port, pathname } = new URL(url)
  const onread: OnReadOpts = { buffer, callback: (received) => { onBytes(received); return true } }
  const socket = connect({ host: hostname, port: Number(port), onread }).on('error', () => {})
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: close\r\n\r\n`)
  return socket
}
