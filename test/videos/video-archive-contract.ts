import type { Test } from 'tap'
import { randomBytes, randomUUID } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { until } from '../../harness/until.ts'
import { ArchiveUnavailableError, type VideoArchive } from '../../services/videos/video-archive.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'

const contentType = 'video/mp4'
const { signal } = new AbortController()
const newName = () => createArchiveName('mp4')

/** What every archive promises. @param openArchive gives one without videos */
export function archiveContract (t: Test, openArchive: (t: Test) => Promise<VideoArchive>): void {
  t.test('a stored video can be read whole and in spans', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    const video = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251))
    t.equal(await archive.store(name, chunksOf(video, 7_001), { contentType, signal }), video.length)
    t.strictSame(await bytesOf(archive.read(name)), video)
    for (const [start, end] of [[0, 1], [0, 0], [99_999, 99_999], [500, 70_000], [0, 99_999]] as const) {
      t.strictSame(await bytesOf(archive.read(name, { start, end })), video.subarray(start, end + 1), `bytes ${start} to ${end}`)
    }
  })

  t.test('a span that is not wholly in the file fails instead of ending early', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    await archive.store(name, chunksOf(Buffer.alloc(100_000, 'dream'), 7_001), { contentType, signal })
    for (const span of [{ start: 50, end: 100_000 }, { start: 99_999, end: 2_000_000 }, { start: 100_000, end: 100_000 }]) {
      await t.rejects(bytesOf(archive.read(name, span)), ArchiveUnavailableError, `bytes ${span.start} to ${span.end}`)
    }
  })

  t.test('a video is piped to where each chunk is only looked at when the next one is wanted', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    const video = randomBytes(1_000_003)
    await archive.store(name, chunksOf(video, 300_000), { contentType, signal })
    const received: Buffer[] = []
    const late = new Writable({
      highWaterMark: 1,
      write (chunk: Buffer, _encoding, done) {
        setImmediate(() => {
          received.push(Buffer.from(chunk))
          done()
        })
      }
    })
    const content = await archive.read(name, { start: 1, end: 999_999 })
    content?.pipe(late)
    await finished(late)
    t.ok(Buffer.concat(received).equals(video.subarray(1, 1_000_000)))
    await until(() => content?.closed, 'the source to be closed')
  })

  t.test('a video whose destination fails is not read on', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    await archive.store(name, chunksOf(Buffer.alloc(1_000_000), 300_000), { contentType, signal })
    const failing = new Writable({ highWaterMark: 1, write (_chunk, _encoding, done) { done(new Error('The client has left')) } })
    const content = await archive.read(name)
    content?.pipe(failing)
    await t.rejects(finished(failing), { message: 'The client has left' })
    content?.destroy()
    await until(() => content?.closed, 'the source to be closed')
  })

  t.test('a video larger than one part of an upload is stored as it is', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    const chunk = Buffer.alloc(1024 * 1024, 'dream')
    const content = Array.from({ length: 20 }, () => chunk)
    t.equal(await archive.store(name, Readable.from(content), { contentType, signal }), 20 * chunk.length)
    t.strictSame(await bytesOf(archive.read(name)), Buffer.concat(content))
    t.strictSame(await bytesOf(archive.read(name, { start: 9_000_000, end: 9_000_009 })), Buffer.concat(content).subarray(9_000_000, 9_000_010))
  })

  t.test('a second video of the same name replaces the first', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    await archive.store(name, chunksOf(Buffer.from('the first one'), 4), { contentType, signal })
    await archive.store(name, chunksOf(Buffer.from('another'), 4), { contentType, signal })
    t.equal((await bytesOf(archive.read(name)))?.toString(), 'another')
  })

  t.test('nothing can be read before the last byte is stored, and nothing stays of a source that fails', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    const failure = new Error('The connection broke')
    const seen: unknown[] = []
    async function * content () {
      yield Buffer.alloc(9_000_000)
      seen.push(await archive.read(name))
      yield Buffer.alloc(9_000_000)
      seen.push(await archive.read(name))
      throw failure
    }
    await t.rejects(archive.store(name, content(), { contentType, signal }), failure)
    t.strictSame(seen, [undefined, undefined])
    t.equal(await archive.read(name), undefined)
    t.strictSame(await namesIn(archive), [])
  })

  t.test('a write that is aborted ends with the reason and leaves nothing', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    const stopping = new AbortController()
    async function * content () {
      yield Buffer.alloc(100)
      stopping.abort(new Error('The instance is stopping'))
      yield Buffer.alloc(100)
    }
    await t.rejects(archive.store(name, content(), { contentType, signal: stopping.signal }), { message: 'The instance is stopping' })
    t.equal(await archive.read(name), undefined)
  })

  t.test('videos are listed and removed; what is not there is undefined, and removing it is no error', async (t) => {
    const archive = await openArchive(t)
    const names = [newName(), newName(), newName()].sort()
    for (const name of names) await archive.store(name, chunksOf(Buffer.from(name), 5), { contentType, signal })
    t.strictSame(await namesIn(archive), names)
    for await (const { bytes, modifiedAt } of archive.list()) {
      t.equal(bytes, 26)
      t.ok(Math.abs(modifiedAt - Date.now()) < 60_000, 'written just now')
    }
    const [first = ''] = names
    await archive.remove(first)
    await archive.remove(first)
    t.equal(await archive.read(first), undefined)
    t.strictSame(await namesIn(archive), names.slice(1))
  })

  t.test('a stored video is found with its size and time, and nothing else is found', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    t.equal(await archive.find(name), undefined)
    await archive.store(name, chunksOf(Buffer.alloc(12_345), 5_000), { contentType, signal })
    const found = await archive.find(name)
    t.match(found, { name, bytes: 12_345 })
    t.ok(Math.abs((found?.modifiedAt ?? 0) - Date.now()) < 60_000, 'written just now')
    await archive.remove(name)
    t.equal(await archive.find(name), undefined)
  })

  t.test('a name that could lead out of the archive is refused', async (t) => {
    const archive = await openArchive(t)
    for (const name of ['../dreamreel.db', 'a/b.mp4', '', '.', 'AAAAAAAAAAAAAAAAAAAAAA.exe', '..AAAAAAAAAAAAAAAAAAAA.mp4']) {
      await t.rejects(archive.read(name), { message: /is not the name of a video/ }, JSON.stringify(name))
      await t.rejects(archive.find(name), { message: /is not the name of a video/ })
      await t.rejects(archive.remove(name), { message: /is not the name of a video/ })
      await t.rejects(archive.store(name, chunksOf(Buffer.from('x'), 1), { contentType, signal }), { message: /is not the name of a video/ })
    }
  })

  t.test('what an interrupted write has left is removed, and a write that is under way is not', async (t) => {
    const archive = await openArchive(t)
    const name = newName()
    const begun = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    async function * content () {
      yield Buffer.alloc(9_000_000)
      begun.resolve()
      await goOn.promise
      yield Buffer.alloc(9_000_000)
    }
    const beforeAll = Date.now() - 60_000
    const stored = archive.store(name, content(), { contentType, signal })
    await begun.promise
    t.equal(await archive.removeUnfinished(beforeAll), 0)
    t.equal(await archive.removeUnfinished(Date.now() + 60_000), 0, 'it is known to be under way here')
    goOn.resolve()
    t.equal(await stored, 18_000_000)
    t.equal((await bytesOf(archive.read(name)))?.length, 18_000_000)
  })

  t.test('the mark of its owner is read as it was last written, and is no video', async (t) => {
    const archive = await openArchive(t)
    t.equal(await archive.readOwner(), undefined)
    const [first, second] = [randomUUID(), randomUUID()]
    await archive.writeOwner(first)
    t.equal(await archive.readOwner(), first)
    await archive.writeOwner(second)
    t.equal(await archive.readOwner(), second)
    t.strictSame(await namesIn(archive), [])
    t.equal(await archive.removeUnfinished(Date.now() + 60_000), 0)
    t.equal(await archive.readOwner(), second)
  })
}

export async function * chunksOf (bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size)
}

export async function bytesOf (read: Promise<Readable | undefined>): Promise<Buffer | undefined> {
  const content = await read
  return content && Buffer.concat(await content.toArray())
}

export async function namesIn (archive: VideoArchive): Promise<string[]> {
  const names = []
  for await (const { name } of archive.list()) names.push(name)
  return names.sort()
}
