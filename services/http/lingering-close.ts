import type { Duplex } from 'node:stream'

export interface LingeringLimits {
  /** bytes that are still read and thrown away; more than the largest body that any route accepts */
  maxBytes: number
  /** how long reading them may take */
  timeoutMs: number
}

/** Two webhooks of the largest size. A client that sends more before it reads the response may lose it. */
export const maxLingeringBytes = 16 * 1024 * 1024

/**
 * Goes on reading from a connection whose response has been written while its client is still sending. Closing it at once could lose
 * the response, because the operating system then discards what the client has not read yet. At either limit the connection is closed.
 * @returns a function that lifts the limits, for a request that has been read to its end after all
 */
export function closeAfterLingering (socket: Duplex, { maxBytes, timeoutMs }: LingeringLimits): () => void {
  let rest = 0
  const count = (chunk: Buffer) => {
    rest += chunk.length
    if (rest > maxBytes) socket.destroy()
  }
  const cut = setTimeout(() => socket.destroy(), timeoutMs)
  const stop = () => {
    clearTimeout(cut)
    socket.off('data', count).off('close', stop)
  }
  socket.on('data', count).once('close', stop)
  return stop
}
