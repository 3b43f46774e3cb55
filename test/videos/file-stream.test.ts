import Fastify from 'fastify'
import { createWriteStream } from 'node:fs'
import { open, truncate, writeFile } from 'node:fs/promises'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { FileStream } from '../../services/videos/file-stream.ts'
import type { ByteSpan } from '../../services/videos/video-archive.ts'
import { countOpen } from '../support/open-files.ts'

/** Larger than what the system keeps for a connection. */
const content = Buffer.from(Array.from({ length: 20_000_000 }, (_, index) => (index * 7) % 251))
const whole = { start: 0, end: content.length - 1 }

/** A server of one file. The query gives the span. */
async function startServer (t: Test) {
  const path = join(t.testdir(), 'file')
  await writeFile(path, content)
  const app = Fastify()
  const streams: FileStream[] = []
  app.get<{ Querystring: { start?: string, end?: string } }>('/', async ({ query }, reply) => {
    const span = query.start === undefined ? whole : { start: Number(query.start), end: Number(query.end) }
    const stream = new FileStream(await open(path), span)
    streams.push(stream)
    return reply.header('content-length', span.end - span.start + 1).send(stream)
  })
  t.teardown(() => app.close())
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, url, path, streams, port: (app.server.address() as AddressInfo).port }
}

const fetchSpan = async (url: string, { start, end }: ByteSpan) => Buffer.from(await (await fetch(`${url}?start=${start}&end=${end}`)).arrayBuffer())

t.test('the bytes of a file are sent as they are, whole, in spans, and to many readers at once', async (t) => {
  const { app, url, streams } = await startServer(t)
  t.ok(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(content))
  const spans = [[0, 0], [0, 1], [19_999_999, 19_999_999], [65_535, 65_536], [1_000, 1_000_000], [100, 19_000_000]] as const
  for (const [start, end] of spans) t.ok((await fetchSpan(url, { start, end })).equals(content.subarray(start, end + 1)), `${start} to ${end}`)
  const readers = Array.from({ length: 40 }, (_, reader) => fetchSpan(url, { start: reader, end: 2_000_000 + reader }))
  for (const [reader, bytes] of (await Promise.all(readers)).entries()) if (!bytes.equals(content.subarray(reader, 2_000_001 + reader))) t.fail(`reader ${reader}`)
  t.ok((await app.inject('/')).rawPayload.equals(content), 'without a connection')
  await until(() => streams.every((stream) => stream.closed), 'the files to be closed')
})

t.test('a reader that leaves while its connection is full closes the file, and others are not disturbed', async (t) => {
  const { url, port, streams } = await startServer(t)
  const sockets = Array.from({ length: 40 }, () => connect(port, '127.0.0.1').on('error', () => {}).pause())
  for (const socket of sockets) socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await until(() => streams.length === 40, 'the requests')
  t.ok(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(content))
  t.ok(streams.slice(0, 40).every((stream) => !stream.destroyed), 'all of them wait')
  for (const socket of sockets) socket.destroy()
  await until(() => streams.every((stream) => stream.closed), 'the files to be closed')
  t.ok(Buffer.from(await (await fetch(url)).arrayBuffer()).equals(content))
})

t.test('a reader that goes on after a pause gets the rest', async (t) => {
  const { port, streams } = await startServer(t)
  const socket = connect(port, '127.0.0.1').pause()
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  await until(() => streams.length === 1, 'the request')
  const received = await buffer(socket)
  t.ok(received.subarray(received.indexOf('\r\n\r\n') + 4).equals(content))
})

t.test('a file that became shorter breaks the answer off', async (t) => {
  const { url, path } = await startServer(t)
  await truncate(path, 10_000_000)
  await t.rejects(fetchSpan(url, { start: 0, end: content.length - 1 }))
})

t.test('it can be read like any other stream', async (t) => {
  const { path } = await startServer(t)
  t.ok((await buffer(new FileStream(await open(path), whole))).equals(content))
  t.ok((await buffer(new FileStream(await open(path), { start: 10, end: 99_999 }))).equals(content.subarray(10, 100_000)))
  const copy = `${path}-copy`
  await pipeline(new FileStream(await open(path), whole), createWriteStream(copy))
  t.ok((await buffer(new FileStream(await open(copy), whole))).equals(content))
  const left = new FileStream(await open(path), whole)
  left.destroy()
  await until(async () => await countOpen(path) + await countOpen(copy) === 0, 'the files to be closed')
})
