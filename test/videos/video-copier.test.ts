import type { RequestListener } from 'node:http'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { FolderArchive } from '../../services/videos/folder-archive.ts'
import { VideoCopier } from '../../services/videos/video-copier.ts'
import { openDownloader, realVideo, startFileServer } from '../support/file-server.ts'
import { bytesOf, chunksOf, namesIn } from './video-archive-contract.ts'

const { signal } = new AbortController()
const video = await realVideo()

async function setUp (t: Test, onRequest: RequestListener, maxConcurrent = 4) {
  const server = await startFileServer(t, onRequest)
  const archive = new FolderArchive(t.testdir())
  const copier = new VideoCopier({ archive, downloader: openDownloader(t), maxConcurrent })
  return { server, archive, copier, name: createArchiveName('mp4') }
}

const serveVideo: RequestListener = (_request, response) => {
  response.writeHead(200, { 'content-type': 'video/mp4', 'content-length': video.length }).end(video)
}

t.test('a video is copied byte by byte, and what it is is known afterwards', async (t) => {
  const { server, archive, copier, name } = await setUp(t, serveVideo)
  const copied = await copier.copy(server.url, name, signal)
  t.match(copied, { outcome: 'stored', file: { contentType: 'video/mp4', bytes: video.length, seconds: 4, width: 360, height: 640 } })
  t.ok(copied.outcome === 'stored' && Math.abs(copied.file.storedAt - Date.now()) < 60_000)
  t.strictSame(await bytesOf(archive.read(name)), video)
  await until(() => server.open === 0, 'the connection to be closed')
})

t.test('a video that an interrupted copy has stored is not downloaded again', async (t) => {
  const { server, archive, copier, name } = await setUp(t, serveVideo)
  await archive.store(name, chunksOf(video, 10_000), { contentType: 'video/mp4', signal })
  t.match(await copier.copy(server.url, name, signal), { outcome: 'stored', file: { bytes: video.length, seconds: 4 } })
  t.equal(server.received.length, 0)
})

t.test('a stored file that is no video is replaced', async (t) => {
  const { server, archive, copier, name } = await setUp(t, serveVideo)
  await archive.store(name, chunksOf(Buffer.alloc(10_000), 10_000), { contentType: 'video/mp4', signal })
  t.match(await copier.copy(server.url, name, signal), { outcome: 'stored', file: { bytes: video.length } })
  t.strictSame(await bytesOf(archive.read(name)), video)
})

t.test('what only begins like a video does not stay in the archive', async (t) => {
  const { server, archive, copier, name } = await setUp(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'video/mp4' }).end(Buffer.concat([video.subarray(0, 32), Buffer.alloc(100_000, 'x')]))
  })
  t.match(await copier.copy(server.url, name, signal), { outcome: 'refused', reason: 'no_video' })
  t.strictSame(await namesIn(archive), [])
})

t.test('a file that is gone is refused, and one that cannot be had now is not', async (t) => {
  let status = 404
  const { server, archive, copier, name } = await setUp(t, (_request, response) => response.writeHead(status).end())
  t.match(await copier.copy(server.url, name, signal), { outcome: 'refused', reason: 'gone', message: /404/ })
  status = 503
  t.match(await copier.copy(server.url, name, signal), { outcome: 'unavailable', error: { message: /503/ } })
  t.strictSame(await namesIn(archive), [])
})

t.test('an abort ends a copy with the reason of the signal and leaves nothing', async (t) => {
  const { server, archive, copier, name } = await setUp(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'video/mp4', 'content-length': video.length }).write(video.subarray(0, 20_000))
  })
  const stopping = new AbortController()
  const copying = copier.copy(server.url, name, stopping.signal)
  await until(() => server.received.length === 1, 'the download')
  stopping.abort(new Error('The instance is stopping'))
  await t.rejects(copying, { message: 'The instance is stopping' })
  await until(() => server.open === 0, 'the connection to be closed')
  t.strictSame(await namesIn(archive), [])
})

t.test('no more videos than allowed are copied at once, and all are copied', async (t) => {
  let running = 0
  let most = 0
  const { server, archive, copier } = await setUp(t, (_request, response) => {
    most = Math.max(most, ++running)
    response.writeHead(200, { 'content-type': 'video/mp4', 'content-length': video.length }).write(video.subarray(0, 1_000))
    setImmediate(() => {
      running--
      response.end(video.subarray(1_000))
    })
  }, 2)
  const names = Array.from({ length: 7 }, () => createArchiveName('mp4')).sort()
  const outcomes = await Promise.all(names.map((name) => copier.copy(server.url, name, signal)))
  t.strictSame(new Set(outcomes.map(({ outcome }) => outcome)), new Set(['stored']))
  t.ok(most <= 2, `${most} at once`)
  t.strictSame(await namesIn(archive), names)
})
