import { loadImage } from '@napi-rs/canvas'
import { createHash } from 'node:crypto'
import { ALL_FORMATS, BufferSource, Input } from 'mediabunny'
import t, { type Test } from 'tap'
import type { EmulatorOptions } from '../../replicate-emulator/app.ts'
import type { Ending } from '../../replicate-emulator/outcome.ts'
import { bodyOf, runningEmulator } from './running-emulator.ts'

type FileFaults = Pick<Ending, 'video' | 'thumbnail' | 'output'>

/** An emulator whose predictions end at once, with the sample as their picture. */
async function filesOf (t: Test, options: EmulatorOptions = {}) {
  const emulation = await runningEmulator(t, { generationMs: 0, sampleVideos: true, ...options })
  const { create, emulator, get, origin } = emulation
  const predict = async (ending: FileFaults = {}) => {
    emulator.addOutcome({ status: 'succeeded', ...ending })
    const { id } = await bodyOf(await create())
    return { id, path: `/files/${id}/output.mp4`, thumbnailPath: `/files/${id}/thumbnail.jpg` }
  }
  const digests = async (id: string) => bodyOf<Record<'video' | 'thumbnail', { bytes: number, sha256: string, type: string }>>(await get(`/emulator/predictions/${id}/files`))
  const download = async (path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(origin + path, { headers })
    return { status: response.status, headers: Object.fromEntries(response.headers), bytes: Buffer.from(await response.arrayBuffer()) }
  }
  return { ...emulation, predict, digests, download }
}

interface Part { bytes: Buffer, length: number, isComplete: boolean }

/** What can be read of a file before its connection ends, or before `stopAt` bytes have come. */
async function readPart (url: string, { headers = {}, stopAt = Infinity } = {}): Promise<Part> {
  const response = await fetch(url, { headers })
  const chunks: Uint8Array[] = []
  let length = 0
  const part = (isComplete: boolean) => ({ bytes: Buffer.concat(chunks), length, isComplete })
  try {
    for await (const chunk of response.body ?? []) {
      chunks.push(chunk)
      length += chunk.length
      if (length >= stopAt) return part(false)
    }
    return part(true)
  } catch {
    return part(false)
  }
}

function sha256 (bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** @returns undefined if a player cannot open the file */
async function openVideo (bytes: Buffer) {
  const input = new Input({ source: new BufferSource(bytes), formats: ALL_FORMATS })
  try {
    const track = await input.getPrimaryVideoTrack()
    return track && { seconds: await track.computeDuration(), width: await track.getDisplayWidth(), frames: (await track.computePacketStats()).packetCount }
  } catch {
    return undefined
  } finally {
    input.dispose()
  }
}

t.test('each prediction has a file of its own, and its digest is known also after it was wiped', async (t) => {
  const { predict, digests, download, emulator } = await filesOf(t)
  const [first, second] = [await predict(), await predict()]
  const [bytes, others] = [(await download(first.path)).bytes, (await download(second.path)).bytes]
  t.notOk(bytes.equals(others), 'of the same prompt')
  t.match(await openVideo(bytes), { seconds: 4, width: 360, frames: 48 })
  const { video, thumbnail } = await digests(first.id)
  t.same(video, { type: 'video/mp4', bytes: bytes.length, sha256: sha256(bytes) })
  t.match(thumbnail, { type: 'image/jpeg', sha256: sha256((await download(first.thumbnailPath)).bytes) })
  t.equal(emulator.wipe(), 2)
  t.equal((await download(first.path)).status, 404)
  t.match(await digests(first.id), { video, thumbnail, wiped: true })
})

t.test('a video is the same when it is rendered again', async (t) => {
  const digests = []
  for (const seed of [1, 2]) {
    const { predict, download } = await filesOf(t, { sampleVideos: false, seed })
    const { bytes } = await download((await predict()).path)
    digests.push(sha256(bytes.subarray(0, bytes.indexOf('free'))))
  }
  t.equal(digests[0], digests[1])
})

t.test('one prediction alone is wiped, with its files', async (t) => {
  const { predict, download, get, origin } = await filesOf(t)
  const [wiped, kept] = [await predict(), await predict()]
  const wipe = (id: string) => fetch(`${origin}/emulator/predictions/${id}/wipe`, { method: 'POST' })
  t.match(await bodyOf(await wipe(wiped.id)), { id: wiped.id, data_removed: true, output: null })
  t.match(await bodyOf(await get(`/v1/predictions/${wiped.id}`)), { status: 'succeeded', data_removed: true, output: null })
  t.same([(await download(wiped.path)).status, (await download(wiped.thumbnailPath)).status], [404, 404])
  t.same([(await download(kept.path)).status, (await download(kept.thumbnailPath)).status], [200, 200])
  t.equal((await wipe(wiped.id)).status, 409)
})

t.test('the thumbnail is the first frame of the video', async (t) => {
  const { predict, download, get, origin } = await filesOf(t, { sampleVideos: false })
  const { id, thumbnailPath } = await predict({ output: { video: '$VIDEO', images: ['$THUMBNAIL'] } })
  const { output } = await bodyOf(await get(`/v1/predictions/${id}`))
  t.same(output, { video: `${origin}/files/${id}/output.mp4`, images: [origin + thumbnailPath] })
  const { headers, bytes } = await download(thumbnailPath)
  t.equal(headers['content-type'], 'image/jpeg')
  const { width, height } = await loadImage(bytes)
  t.same([width, height], [360, 640])
})

t.test('a file at the API demands the token, a public one does not', async (t) => {
  const { predict, download, get, origin } = await filesOf(t, { token: 'test-token' })
  const { id, path } = await predict({ output: ['$API_VIDEO'] })
  const { output } = await bodyOf(await get(`/v1/predictions/${id}`))
  t.same(output, [`${origin}/v1${path}`])
  t.equal((await download(`/v1${path}`)).status, 401)
  t.equal((await download(`/v1${path}`, { authorization: 'Bearer other' })).status, 401)
  const { status, bytes } = await download(`/v1${path}`, { authorization: 'Bearer test-token' })
  t.equal(status, 200)
  t.ok(bytes.equals((await download(path)).bytes))
})

t.test('a large video can be played, and any part of it can be read', async (t) => {
  const { predict, download, digests } = await filesOf(t)
  const size = 3_000_001
  const { id, path } = await predict({ video: { bytes: size } })
  const { headers, bytes } = await download(path)
  t.equal(headers['content-length'], String(size))
  t.match(await openVideo(bytes), { seconds: 4, frames: 48 })
  t.match(await digests(id), { video: { bytes: size, sha256: sha256(bytes) } })
  for (const [first, last] of [[0, 1], [4_000, 5_000], [1_234_567, 1_876_543], [size - 1, size - 1]] as const) {
    const part = await download(path, { range: `bytes=${first}-${last}` })
    t.equal(part.status, 206)
    t.ok(part.bytes.equals(bytes.subarray(first, last + 1)), `bytes ${first} to ${last}`)
  }
  t.notOk(bytes.subarray(1_000_000, 1_100_000).equals(bytes.subarray(1_100_000, 1_200_000)), 'misplaced bytes would be noticed')
})

t.test('a file may be cut off, empty, or no video at all', async (t) => {
  const { predict, download } = await filesOf(t)
  const wholeSize = (await download((await predict()).path)).bytes.length
  const fileWith = async (ending: FileFaults) => {
    const { status, headers, bytes } = await download((await predict(ending)).path)
    return { status, type: headers['content-type'], length: headers['content-length'], bytes }
  }
  const truncated = await fileWith({ video: { bytes: 500 } })
  t.match(truncated, { status: 200, type: 'video/mp4', length: '500' })
  t.notOk(await openVideo(truncated.bytes), 'its index is not complete')
  t.match(await fileWith({ video: { bytes: wholeSize - 1000 } }), { length: String(wholeSize - 1000) })
  t.match(await fileWith({ video: { bytes: 0 } }), { status: 200, type: 'video/mp4', length: '0' })
  const html = await fileWith({ video: { content: 'html' } })
  t.match(html, { status: 200, type: /^text\/html/ })
  t.match(html.bytes.toString(), /^<!doctype html>/)
  const json = await fileWith({ video: { content: 'json' } })
  t.match(json, { status: 200, type: 'application/json' })
  t.ok(JSON.parse(json.bytes.toString()))
  const image = await fileWith({ video: { content: 'image', type: 'video/mp4' } })
  t.match(image, { status: 200, type: 'video/mp4' })
  t.equal((await loadImage(image.bytes)).width, 360)
  const noise = await fileWith({ video: { content: 'noise', bytes: 5_000 } })
  t.match(noise, { status: 200, type: 'video/mp4', length: '5000' })
  t.notOk(await openVideo(noise.bytes))
})

t.test('a thumbnail may be no image, without an effect on the video', async (t) => {
  const { predict, download } = await filesOf(t)
  const { path, thumbnailPath } = await predict({ thumbnail: { content: 'html' } })
  t.match((await download(thumbnailPath)).headers, { 'content-type': /^text\/html/ })
  t.match((await download(path)).headers, { 'content-type': 'video/mp4' })
})

t.test('a download is cut where the fault says, and can be resumed by a range', async (t) => {
  const { predict, digests, origin, emulator } = await filesOf(t)
  const { id, path } = await predict({ video: { bytes: 1_000_000 } })
  emulator.addFault({ call: 'file', kind: 'malformed', bytes: 300_000, times: 2 })
  const parts = []
  for (const from of [0, 300_000, 600_000]) parts.push(await readPart(origin + path, { headers: { range: `bytes=${from}-` } }))
  t.same(parts.map(({ isComplete, length }) => [isComplete, length]), [[false, 300_000], [false, 300_000], [true, 400_000]])
  t.equal(sha256(Buffer.concat(parts.map(({ bytes }) => bytes))), (await digests(id)).video.sha256)

  emulator.addFault({ call: 'file', kind: 'malformed', share: 1 })
  for (const attempt of [1, 2, 3]) t.equal((await readPart(origin + path)).length, 500_000, `attempt ${attempt}`)
})

t.test('without ranges a request for one gets the whole file', async (t) => {
  const { predict, download } = await filesOf(t, { fileRanges: false })
  const { path } = await predict()
  const { status, headers, bytes } = await download(path, { range: 'bytes=100-' })
  t.equal(status, 200)
  t.equal(headers['accept-ranges'], undefined)
  t.equal(headers['content-length'], String(bytes.length))
})

t.test('a download stops for ever, or arrives slowly and whole', async (t) => {
  const { predict, digests, download, origin, emulator, app } = await filesOf(t)
  const { id, path } = await predict({ video: { bytes: 400_000 } })
  emulator.addFault({ call: 'file', kind: 'slow', bytes_per_second: 2_000_000 })
  t.equal(sha256((await download(path)).bytes), (await digests(id)).video.sha256)
  emulator.addFault({ call: 'file', kind: 'stall', times: 2 })
  t.equal((await readPart(origin + path, { stopAt: 200_000 })).length, 200_000)
  const stalled = await fetch(origin + path)
  await app.close()
  await t.rejects(stalled.arrayBuffer(), TypeError, 'it does not delay the close')
})

t.test('a file is refused as a call of the API is', async (t) => {
  const { predict, download, emulator } = await filesOf(t)
  const { path } = await predict()
  for (const status of [404, 500]) {
    emulator.addFault({ call: 'file', kind: 'status', status })
    t.equal((await download(path)).status, status)
  }
  emulator.addFault({ call: 'file', kind: 'status', status: 429, retry_after: 3 })
  t.match(await download(path), { status: 429, headers: { 'retry-after': '3' } })
  emulator.addFault({ call: 'thumbnail', kind: 'status' })
  t.equal((await download(path)).status, 200)
})

t.test('a file redirects to itself a number of times, for ever, or to another address of this machine', async (t) => {
  const { predict, download, origin, emulator } = await filesOf(t)
  const { path } = await predict()
  emulator.addFault({ call: 'file', kind: 'redirect', times: 2 })
  const response = await fetch(origin + path)
  t.match(response, { status: 200, redirected: true, url: `${origin}${path}?redirects=2` })
  await response.arrayBuffer()
  emulator.addFault({ call: 'file', kind: 'redirect', to: 'http://127.0.0.1:1/elsewhere.mp4' })
  const elsewhere = await fetch(origin + path, { redirect: 'manual' })
  t.same([elsewhere.status, elsewhere.headers.get('location')], [302, 'http://127.0.0.1:1/elsewhere.mp4'])
  t.throws(() => emulator.addFault({ call: 'file', kind: 'redirect', to: 'http://127.0.0.1.example.com/' }), TypeError)
  emulator.addFault({ call: 'file', kind: 'redirect', share: 1 })
  await t.rejects(download(path), TypeError)
  t.equal(emulator.calls.file, 3 + 1 + 21, 'fetch follows twenty redirects')
})
