import type { Duplex } from 'node:stream'

export interface LingeringLimits {
  /** bytes that are still read and thrown away; more than the largest body that any route takes */
  maxBytes: number
  /** how long they may take, in milliseconds */
  timeoutMs: number
}

/** Two webhooks of the largest size. A client that sends more than that before it reads is not waited for. */
export const maxLingeringBytes = 16 * 1024 * 1024

/**
 * Reads on, on a connection whose answer has been written although its client is still sending: closing at once could
 * lose the answer, because the system discards what the client has not read yet. The connection is cut at either limit.
 * @returns to be called when the request has been read to its end after all
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
