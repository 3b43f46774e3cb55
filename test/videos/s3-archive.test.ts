import { CreateBucketCommand, CreateMultipartUploadCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'tap'
import { S3Server } from '../../harness/s3-server.ts'
import { until } from '../../harness/until.ts'
import { S3Archive, type S3TimeLimits } from '../../services/videos/s3-archive.ts'
import { ArchiveUnavailableError } from '../../services/videos/video-archive.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { archiveContract, bytesOf, chunksOf, namesIn } from './video-archive-contract.ts'

const server = await S3Server.start()
const { endpoint, region, credentials } = server
const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
const { signal } = new AbortController()
let buckets = 0

/** An archive in a new bucket. */
async function openArchive (timeLimits?: S3TimeLimits): Promise<S3Archive & { bucket: string }> {
  const bucket = `videos-${++buckets}`
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  return Object.assign(new S3Archive({ bucket, prefix: 'dreamreel/', endpoint, region, credentials, timeLimits }), { bucket })
}

async function unfinishedUploads (bucket: string): Promise<number> {
  return (await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads?.length ?? 0
}

test('an archive on an S3 server', async (t) => {
  t.teardown(() => server.stop())
  await t.test('keeps what every archive promises', (t) => {
    archiveContract(t, () => openArchive())
    t.end()
  })

  await t.test('gives an address that anybody can read from', async (t) => {
    const archive = await openArchive()
    const name = createArchiveName('mp4')
    await archive.store(name, chunksOf(Buffer.from('a whole video'), 5), { contentType: 'video/mp4', signal })
    const address = await archive.signUrl(name, { method: 'GET', expiresInSeconds: 60, download: 'dream.mp4' })
    const answer = await fetch(address, { headers: { range: 'bytes=2-6' } })
    t.equal(answer.status, 206)
    t.equal(await answer.text(), 'whole')
    t.equal(answer.headers.get('content-type'), 'video/mp4')
    t.equal(answer.headers.get('content-disposition'), 'attachment; filename="dream.mp4"')
    const forged = await fetch(address.replace(name, createArchiveName('mp4')))
    t.equal(forged.status, 403)
  })

  await t.test('removes the parts of an upload whose process died', async (t) => {
    const archive = await openArchive()
    await client.send(new CreateMultipartUploadCommand({ Bucket: archive.bucket, Key: `dreamreel/${createArchiveName('mp4')}` }))
    t.equal(await archive.removeUnfinished(Date.now() - 3_600_000), 0)
    t.equal(await archive.removeUnfinished(Date.now() + 60_000), 1)
    t.equal(await archive.removeUnfinished(Date.now() + 60_000), 0)
  })

  await t.test('leaves no part of an upload that fails or is aborted half-way', async (t) => {
    const archive = await openArchive()
    const failure = new Error('The connection broke')
    const stopping = new AbortController()
    for (const [end, reason] of [[() => { throw failure }, failure], [() => stopping.abort(failure), failure]] as const) {
      let uploads = 0
      async function * content () {
        yield Buffer.alloc(6_000_000)
        uploads = await unfinishedUploads(archive.bucket)
        end()
        yield Buffer.alloc(6_000_000)
      }
      await t.rejects(archive.store(createArchiveName('mp4'), content(), { contentType: 'video/mp4', signal: stopping.signal }), reason)
      t.equal(uploads, 1)
      t.equal(await unfinishedUploads(archive.bucket), 0)
    }
  })

  await t.test('holds one part of each upload in memory', async (t) => {
    const archive = await openArchive()
    const chunk = Buffer.alloc(1_000_000, 'dream')
    const uploads = 25
    const before = process.memoryUsage().arrayBuffers
    let most = 0
    async function * content () {
      for (let sent = 0; sent < 6; sent++) {
        most = Math.max(most, process.memoryUsage().arrayBuffers - before)
        yield chunk
      }
    }
    const stored = await Promise.all(Array.from({ length: uploads }, () => archive.store(createArchiveName('mp4'), content(), { contentType: 'video/mp4', signal })))
    t.strictSame(stored, Array.from({ length: uploads }, () => 6_000_000))
    t.ok(most < uploads * 7_000_000, `${most} bytes`)
  })

  await t.test('waits for a server that does not react only as long as it may', async (t) => {
    const archive = await openArchive({ connectMs: 1_000, requestMs: 500, idleMs: 500 })
    const name = createArchiveName('mp4')
    const video = Buffer.alloc(20_000_000, 'dream')
    await archive.store(name, chunksOf(video, 1_000_000), { contentType: 'video/mp4', signal })
    t.teardown(() => server.thaw())
    const reading = await archive.read(name) ?? Readable.from([])
    const stopping = new AbortController()
    const reason = new Error('The instance is stopping')
    async function * content () {
      yield Buffer.alloc(6_000_000)
      server.freeze()
      yield Buffer.alloc(6_000_000)
    }
    await t.rejects(archive.store(createArchiveName('mp4'), content(), { contentType: 'video/mp4', signal }), ArchiveUnavailableError)
    await t.rejects(text(reading), { name: 'TimeoutError' })
    await t.rejects(archive.find(name), ArchiveUnavailableError)
    await t.rejects(archive.read(name), ArchiveUnavailableError)
    // The server may do this later: what it was sent waits for it.
    await t.rejects(archive.remove(createArchiveName('mp4')), ArchiveUnavailableError)
    await t.rejects(archive.list().next(), ArchiveUnavailableError)
    await archive.assertUsable()
    const storing = archive.store(createArchiveName('mp4'), chunksOf(video, 1_000_000), { contentType: 'video/mp4', signal: stopping.signal })
    stopping.abort(reason)
    await t.rejects(storing, reason)

    server.thaw()
    // The server itself breaks off what it was doing meanwhile.
    const read = await until(() => bytesOf(archive.read(name)).catch(() => undefined), 'the video')
    t.ok(read.equals(video))
    await archive.removeUnfinished(Date.now() + 60_000)
    t.equal(await unfinishedUploads(archive.bucket), 0)
    t.strictSame(await namesIn(archive), [name])
  })

  await t.test('refuses a bucket that is not there and a key that is wrong, at the start', async (t) => {
    await t.rejects(new S3Archive({ bucket: 'nothing-here', prefix: '', endpoint, region, credentials }).assertUsable(), { name: 'StartError', message: /nothing-here cannot be used/ })
    const { bucket } = await openArchive()
    const wrong = new S3Archive({ bucket, prefix: '', endpoint, region, credentials: { ...credentials, secretAccessKey: 'wrong' } })
    await t.rejects(wrong.assertUsable(), { name: 'StartError', message: /the server answers 403/ })
    await t.rejects(wrong.read(createArchiveName('mp4')), ArchiveUnavailableError)
    await new S3Archive({ bucket, prefix: '', endpoint, region, credentials }).assertUsable()
  })

  await t.test('says that it is unavailable while the server is, and has everything afterwards', async (t) => {
    const archive = await openArchive()
    const name = createArchiveName('mp4')
    await archive.store(name, chunksOf(Buffer.from('a whole video'), 5), { contentType: 'video/mp4', signal })
    await server.halt()
    await t.rejects(archive.read(name), ArchiveUnavailableError)
    await t.rejects(archive.store(createArchiveName('mp4'), chunksOf(Buffer.from('x'), 1), { contentType: 'video/mp4', signal }), ArchiveUnavailableError)
    await t.rejects(archive.remove(name), ArchiveUnavailableError)
    await t.rejects(archive.list().next(), ArchiveUnavailableError)
    await archive.assertUsable()
    await server.resume()
    t.equal(await text(await archive.read(name) ?? Readable.from([])), 'a whole video')
  })
})
