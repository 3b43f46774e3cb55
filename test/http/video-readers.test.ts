import type { FastifyInstance } from 'fastify'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { countOpen } from '../support/open-files.ts'
import { startService } from '../support/service.ts'
import { createStoredVideo } from '../support/stored-video.ts'

/** A video that does not fit into the buffers of a connection: what a client does not read stays in the file. */
const content = randomBytes(32_000_000)

/** The service on a port, with a video in a folder, and a function that counts how often this process has the file open. */
async function startWithVideo (t: Test) {
  const dataDir = t.testdir()
  const { app } = await startService(t, { env: { DATA_DIR: dataDir } })
  const { name } = await createStoredVideo(app, { content })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const file = join(dataDir, 'videos', name)
  const request = (): Socket => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.write(`GET /videos/${name} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
    return socket
  }
  return { app, url: `http://127.0.0.1:${port}/videos/${name}`, request, countOpen: () => countOpen(file) }
}

/** Keeps the streams of the archive, so that garbage collection closes none of their files. */
function keepStreams ({ videoArchive }: FastifyInstance, beforeOpening: () => Promise<void> = async () => {}): Readable[] {
  const streams: Readable[] = []
  const read = videoArchive.read.bind(videoArchive)
  videoArchive.read = async (name, span) => {
    await beforeOpening()
    const stream = await read(name, span)
    if (stream !== undefined) streams.push(stream)
    return stream
  }
  return streams
}

t.test('a client that leaves in the middle of a video keeps no file open', async (t) => {
  const { app, url, request, countOpen } = await startWithVideo(t)
  const streams = keepStreams(app)
  const clients = Array.from({ length: 8 }, request)
  await Promise.all(clients.map((socket) => once(socket, 'readable')))
  t.equal(await countOpen(), clients.length)
  for (const [index, socket] of clients.entries()) {
    if (index % 2 === 0) socket.destroy()
    else socket.resetAndDestroy()
  }
  await until(async () => await countOpen() === 0, 'the file to be closed')
  t.equal(streams.length, clients.length)
  const response = await fetch(url)
  t.ok(content.equals(Buffer.from(await response.arrayBuffer())))
  await until(async () => await countOpen() === 0, 'the file to be closed after a whole video')
})

t.test('a client that leaves before the video is open keeps no file open', async (t) => {
  const { app, request, countOpen } = await startWithVideo(t)
  const [opening, departure] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const streams = keepStreams(app, () => {
    opening.resolve()
    return departure.promise
  })
  const closed = new Promise((resolve) => app.server.on('connection', (socket) => socket.on('close', resolve)))
  const client = request()
  await opening.promise
  client.resetAndDestroy()
  await closed
  departure.resolve()
  await until(() => streams.length === 1, 'the file to be opened')
  await until(async () => await countOpen() === 0, 'the file to be closed')
  t.ok(streams[0]?.destroyed)
})
