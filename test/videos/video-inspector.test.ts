import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { ArchiveUnavailableError, type ByteSpan } from '../../services/videos/video-archive.ts'
import { InspectionFailedError, VideoInspector } from '../../services/videos/video-inspector.ts'
import { realVideo } from '../support/file-server.ts'
import { box, editBoxes, numbers, takeApart } from './hostile-videos.ts'

const { signal } = new AbortController()
const found = { contentType: 'video/mp4', seconds: 4, width: 360, height: 640 }
const video = await realVideo()
const { type, movieHeader, track, index, data } = takeApart(video)

function fileOf (content: Buffer) {
  const spans: ByteSpan[] = []
  const read = async (span: ByteSpan): Promise<Readable> => {
    spans.push(span)
    return Readable.from([content.subarray(span.start, span.end + 1)])
  }
  return { bytes: content.length, read, spans }
}

/** Inspects files, after each of which a video is still found to be one. */
function openInspector (t: Test) {
  const inspector = new VideoInspector()
  t.teardown(() => inspector.close())
  return inspector
}

t.test('length, size and type of a video are found, wherever in the file its index is', async (t) => {
  const inspector = openInspector(t)
  t.strictSame(await inspector.inspect(fileOf(video), signal), found)
  t.strictSame(await inspector.inspect(fileOf(Buffer.concat([type, data, index])), signal), found)
  const quickTime = Buffer.from(video)
  quickTime.write('qt  ', 8, 'latin1')
  t.match(await inspector.inspect(fileOf(quickTime), signal), { ...found, contentType: 'video/quicktime' })
})

t.test('of a large video only the index is read', async (t) => {
  const path = join(t.testdir(), 'large.mp4')
  const file = await open(path, 'wx+')
  t.teardown(() => file.close())
  const dataBytes = 500_000_000
  const head = Buffer.concat([type, numbers(dataBytes + 8), Buffer.from('mdat')])
  await file.write(head, 0, head.length, 0)
  await file.write(index, 0, index.length, head.length + dataBytes)
  let bytesRead = 0
  const read = async ({ start, end }: ByteSpan): Promise<Readable> => {
    bytesRead += end - start + 1
    return file.createReadStream({ start, end, autoClose: false })
  }
  t.strictSame(await openInspector(t).inspect({ bytes: head.length + dataBytes + index.length, read }, signal), found)
  t.ok(bytesRead < 1_000_000, `${bytesRead} bytes`)
})

t.test('no video is found in files that are broken or made to do harm, and the next video is', async (t) => {
  const sound = editBoxes(video, (name, content) => [box(name, name === 'hdlr' ? Buffer.concat([numbers(0, 0), Buffer.from('soun'), Buffer.alloc(13)]) : content)])
  const endless = editBoxes(video, (name, content) => name === 'stts'
    ? [box('stts', numbers(0, 1, 0xffffffff, 1)), box('ctts', numbers(0, 1, 1, 0))]
    : [box(name, content)])
  const tinyBoxes = Buffer.alloc(40_000_000, box('free'))
  const manyTracks = box('moov', movieHeader, ...Array.from({ length: 40_000 }, () => track))
  const webm = Buffer.from([0x1a, 0x45, 0xdf, 0xa3])
  const cases: Record<string, Buffer> = {
    'random bytes': Buffer.concat([type, randomBytes(1_000_000)]),
    zeros: Buffer.concat([type, Buffer.alloc(1_000_000)]),
    'an index that ends early': video.subarray(0, 500),
    'data without an index': Buffer.concat([type, data]),
    'an index that claims to be huge': Buffer.concat([type, numbers(1), Buffer.from('moov'), numbers(0x7fffffff, 0xffffffff), index.subarray(8)]),
    'an index larger than what is read': Buffer.concat([type, box('moov', movieHeader, Buffer.alloc(40_000_000), track)]),
    'no picture': sound,
    'four thousand million frames': endless,
    'five million boxes': Buffer.concat([type, tinyBoxes, index]),
    'forty thousand tracks': Buffer.concat([type, manyTracks]),
    'a page': Buffer.from('<!doctype html><title>Sorry</title>'.repeat(100)),
    'random WebM': Buffer.concat([webm, randomBytes(1_000_000)]),
    'WebM of nothing but starts': Buffer.concat(Array.from({ length: 100_000 }, () => webm))
  }
  const inspector = openInspector(t)
  for (const [name, content] of Object.entries(cases)) {
    t.equal(await inspector.inspect(fileOf(content), signal), undefined, name)
    t.strictSame(await inspector.inspect(fileOf(video), signal), found)
  }
})

t.test('boxes in boxes in boxes do no harm', async (t) => {
  const depth = 300_000
  const nested = Buffer.concat(Array.from({ length: depth }, (_, level) => Buffer.concat([numbers(8 * (depth - level)), Buffer.from('trak')])))
  const inspector = openInspector(t)
  t.equal(await inspector.inspect(fileOf(Buffer.concat([type, box('moov', movieHeader, nested)])), signal), undefined)
  t.strictSame(await inspector.inspect(fileOf(video), signal), found)
})

t.test('bytes that cannot be read say nothing about the file', async (t) => {
  const inspector = openInspector(t)
  const unavailable = new ArchiveUnavailableError(new Error('The disk is gone'))
  await t.rejects(inspector.inspect({ bytes: 1_000, read: () => Promise.reject(unavailable) }, signal), unavailable)
  const breaking = () => Promise.resolve(new Readable({ read () { this.destroy(unavailable) } }))
  await t.rejects(inspector.inspect({ bytes: 1_000, read: breaking }, signal), { name: 'InspectionFailedError', cause: unavailable })
  t.strictSame(await inspector.inspect(fileOf(video), signal), found)
})

t.test('an abort ends an inspection that waits for bytes or for its turn', async (t) => {
  const inspector = openInspector(t)
  const stopping = new AbortController()
  const reading = Promise.withResolvers<Readable>()
  const endless = new Readable({ read () {} })
  const inspections = [1, 2].map(() => inspector.inspect({ bytes: 1_000, read: () => { reading.resolve(endless); return Promise.resolve(endless) } }, stopping.signal))
  const rejected = Promise.all(inspections.map((inspection) => t.rejects(inspection, { message: 'The instance is stopping' })))
  await reading.promise
  stopping.abort(new Error('The instance is stopping'))
  await rejected
  t.ok(endless.destroyed)
  t.strictSame(await inspector.inspect(fileOf(video), signal), found)
})

t.test('many videos are inspected one after another', async (t) => {
  const inspector = openInspector(t)
  const formats = await Promise.all(Array.from({ length: 120 }, () => inspector.inspect(fileOf(video), signal)))
  t.strictSame(formats, Array.from({ length: 120 }, () => found))
})

t.test('a thread that is ended from outside makes its inspection fail', async (t) => {
  const inspector = openInspector(t)
  const read = (): Promise<Readable> => {
    inspector.close()
    return Promise.withResolvers<Readable>().promise
  }
  await t.rejects(inspector.inspect({ bytes: 1_000, read }, signal), InspectionFailedError)
  t.strictSame(await inspector.inspect(fileOf(video), signal), found)
})
