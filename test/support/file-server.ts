import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { Test } from 'tap'
import { listen } from '../../harness/listen.ts'
import { VideoRenderer } from '../../replicate-emulator/video/video-renderer.ts'
import { VideoDownloader, type VideoDownloaderOptions } from '../../services/videos/video-download.ts'

/** A server of files on 127.0.0.1. `open` counts its connections. */
export async function startFileServer (t: Test, onRequest: RequestListener) {
  const received: IncomingMessage[] = []
  const server = createServer((request, response) => {
    received.push(request)
    response.on('error', () => {})
    onRequest(request, response)
  })
  const state = { open: 0 }
  server.on('connection', (socket) => {
    state.open++
    socket.on('close', () => state.open--)
  })
  const port = await listen(server)
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return Object.assign(state, { received, origin: `http://127.0.0.1:${port}`, url: `http://127.0.0.1:${port}/output.mp4` })
}

/** Downloads from this machine, whatever the address. */
export function openDownloader (t: Test, options: Partial<VideoDownloaderOptions> = {}): VideoDownloader {
  const downloader = new VideoDownloader({
    isTrusted: () => true, headersFor: () => ({}), allowPrivate: true, maxBytes: 50_000_000, idleTimeoutMs: 10_000, ...options
  })
  t.teardown(() => downloader.close())
  return downloader
}

const renderer = new VideoRenderer()

/** An MP4 file of four seconds, rendered once in a process. */
export async function realVideo (): Promise<Buffer> {
  // The thread that renders does not keep the process running.
  const busy = setInterval(() => {}, 60_000)
  try {
    return await renderer.videoFor('A whale in the clouds, realistic')
  } finally {
    clearInterval(busy)
  }
}
