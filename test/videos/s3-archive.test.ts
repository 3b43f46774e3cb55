import { CreateBucketCommand, CreateMultipartUploadCommand, S3Client } from '@aws-sdk/client-s3'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'tap'
import { S3Server } from '../../harness/s3-server.ts'
import { S3Archive } from '../../services/videos/s3-archive.ts'
import { ArchiveUnavailableError } from '../../services/videos/video-archive.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { archiveContract, chunksOf } from './video-archive-contract.ts'

const server = await S3Server.start()
const { endpoint, region, credentials } = server
const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
const { signal } = new AbortController()
let buckets = 0

/** An archive in a new bucket. */
async function openArchive (): Promise<S3Archive & { bucket: string }> {
  const bucket = `videos-${++buckets}`
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  return Object.assign(new S3Archive({ bucket, prefix: 'dreamreel/', endpoint, region, credentials }), { bucket })
}

test('an archive on an S3 server', async (t) => {
  t.teardown(() => server.stop())
  await t.test('keeps what every archive promises', (t) => {
    archiveContract(t, openArchive)
    t.end()
  })

  await t.test('gives an address that anybody can read from', async (t) => {
    const archive = await openArchive()
    const name = createArchiveName('mp4')
    await archive.store(name, chunksOf(Buffer.from('a whole video'), 5), { contentType: 'video/mp4', signal })
    const address = await archive.signUrl(name, { expiresInSeconds: 60, download: 'dream.mp4' })
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
