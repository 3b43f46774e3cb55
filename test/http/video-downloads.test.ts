import type { FastifyInstance } from 'fastify'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { truncate } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { countOpen } from '../support/open-files.ts'
import { startService, type ServiceOptions } from '../support/service.ts'
import { createStoredVideo } from '../support/stored-video.ts'

const MB = 1_000_000

/** The service on a port, with a stored video of random bytes in a folder. */
async function startWithVideo (t: Test, bytes: number, options: ServiceOptions = {}) {
  const dataDir = t.testdir()
  const service = await startService(t, { ...options, env: { DATA_DIR: dataDir, ...options.env } })
  const url = await service.app.listen({ port: 0, host: '127.0.0.1' })
  const stored = await createStoredVideo(service.app, { content: randomBytes(bytes) })
  const path = join(dataDir, 'videos', stored.name)
  return { ...service, ...stored, url: `${url}/videos/${stored.name}`, path, openFiles: () => countOpen(path) }
}

/** A socket on which a file was requested. Nothing of the response is read before `resume`. */
async function request (t: Test, app: FastifyInstance, name: string): Promise<Socket> {
  const address = app.server.address()
  const port = typeof address === 'object' ? address?.port ?? 0 : 0
  const socket = connect({ port, host: '127.0.0.1' }).pause()
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(`GET /videos/${name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  return socket
}

/** Waits until a response has begun. Its bytes can be read again. */
async function readSome (socket: Socket): Promise<void> {
  socket.resume()
  const [first] = await once(socket, 'data')
  socket.pause().unshift(first)
}

/** Reads a response to its end, and tells how many bytes of the body came and what their hash is. */
async function readToEnd (socket: Socket, onChunk: () => Promise<void> = async () => {}) {
  const hash = createHash('sha256')
  let [head, bytes] = ['', 0]
  for await (const chunk of socket) {
    const start = head.includes('\r\n\r\n') ? 0 : headLength(chunk)
    head += chunk.toString('latin1', 0, start)
    bytes += chunk.length - start
    hash.update(chunk.subarray(start))
    await onChunk()
  }
  return { head, bytes, sha256: hash.digest('hex') }
}

function headLength (chunk: Buffer): number {
  const end = chunk.indexOf('\r\n\r\n')
  if (end === -1) throw new Error('The head of the response is not in one packet')
  return end + 4
}

t.test('many clients at once get the bytes that they ask for', async (t) => {
  const { url, content, openFiles } = await startWithVideo(t, 3 * MB)
  await Promise.all(Array.from({ length: 100 }, async (_, client) => {
    const [start, end] = [client * 20_011, 2 * MB + client * 9_001]
    const response = await fetch(url, client % 10 === 0 ? {} : { headers: { range: `bytes=${start}-${end}` } })
    const expected = client % 10 === 0 ? content : content.subarray(start, end + 1)
    t.ok(expected.equals(Buffer.from(await response.arrayBuffer())), `client ${client}`)
  }))
  await until(async () => await openFiles() === 0, 'the file to be closed')
})

t.test('a client that leaves in the middle is one line in the log', async (t) => {
  const { app, name, openFiles, logLines } = await startWithVideo(t, 20 * MB)
  const sockets = await Promise.all(Array.from({ length: 10 }, () => request(t, app, name)))
  await Promise.all(sockets.map(readSome))
  t.equal(await openFiles(), 10)
  for (const socket of sockets) socket.destroy()
  await until(async () => await openFiles() === 0, 'the file to be closed')
  const lines = await until(() => {
    const lines = logLines.map((line) => JSON.parse(line)).filter(({ route }) => route === '/videos/:name')
    return lines.length === 10 && lines
  }, 'the lines of the requests')
  for (const line of lines) t.match(line, { msg: 'request aborted', level: 30, status: 200 })
  t.notOk(logLines.some((line) => /premature|"level":[4-6]0/.test(line)))
})

t.test('clients that read slowly take little memory, however large the video is', async (t) => {
  const { app, name, openFiles } = await startWithVideo(t, 30 * MB)
  const before = process.memoryUsage().arrayBuffers
  const sockets = await Promise.all(Array.from({ length: 100 }, () => request(t, app, name)))
  await until(async () => await openFiles() === 100, 'the file to be open')
  await untilStill(() => process.memoryUsage().arrayBuffers)
  const held = process.memoryUsage().arrayBuffers - before
  t.ok(held < 40 * MB, `${held / MB} MB for 100 clients`)
  const [first] = sockets
  t.ok(first)
  t.equal(first && (await readToEnd(first)).bytes, 30 * MB, 'a response that waited goes on')
})

/** Waits until a value is the same many times in a row. */
async function untilStill (read: () => number): Promise<void> {
  let [last, times] = [read(), 0]
  await until(() => {
    const now = read()
    times = now === last ? times + 1 : 0
    last = now
    return times === 50
  }, 'nothing to change any more')
}

t.test('a client that reads nothing is cut, and one that reads slowly is not', async (t) => {
  const { app, name, content, openFiles, logLines } = await startWithVideo(t, 30 * MB, { server: { idleTimeoutMs: 1_500 } })
  const [dead, slow] = await Promise.all([request(t, app, name), request(t, app, name)])
  const aborted = () => logLines.filter((line) => line.includes('request aborted')).length
  // Each part of the slow one is read after a while in which the dead one has made no progress.
  let pauses = 0
  const answer = await readToEnd(slow, async () => {
    if (aborted() > 0 || pauses++ % 16 !== 0) return
    const since = performance.now()
    await until(() => aborted() > 0 || performance.now() - since > 100, 'time to pass')
  })
  t.equal(answer.sha256, createHash('sha256').update(content).digest('hex'))
  await until(() => aborted() === 1, 'the dead one to be cut')
  await until(async () => await openFiles() === 0, 'the file to be closed')
  t.not((await readToEnd(dead).catch(() => ({ bytes: -1 }))).bytes, 30 * MB)
})

t.test('a download goes on while the service stops', async (t) => {
  const { app, name, url, content } = await startWithVideo(t, 20 * MB)
  const socket = await request(t, app, name)
  await readSome(socket)
  const closed = app.close()
  const refused = async () => await fetch(new URL('/livez', url)).then(() => false, () => true)
  await until(refused, 'the server to be closed')
  const { bytes, sha256 } = await readToEnd(socket)
  t.equal(bytes, 20 * MB)
  t.equal(sha256, createHash('sha256').update(content).digest('hex'))
  await closed
})

t.test('a file that has become shorter never looks complete', async (t) => {
  const { app, name, url, path, logLines, openFiles } = await startWithVideo(t, 5 * MB)
  await truncate(path, 2 * MB)
  const { head, bytes } = await readToEnd(await request(t, app, name)).catch((error: Error) => ({ head: error.message, bytes: -1 }))
  t.not(bytes, 5 * MB)
  t.match(head, /Content-Length: 5000000|ECONNRESET/i, 'the client sees that bytes are missing')
  await t.rejects(fetch(url).then((response) => response.arrayBuffer()), { message: 'terminated' })
  t.equal(logLines.filter((line) => line.includes('"level":40') && line.includes('was cut off')).length, 2)
  const tail = await fetch(url, { headers: { range: 'bytes=3000000-' } })
  t.match(await tail.json(), { status: 503, code: 'archive_unavailable' }, 'where no byte of the range was sent, it is an error')
  t.equal(tail.headers.get('content-range'), null)
  t.equal(tail.headers.get('cache-control'), 'no-store')
  await until(async () => await openFiles() === 0, 'the file to be closed')
})
