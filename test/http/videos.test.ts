import type { FastifyInstance } from 'fastify'
import { createHash, randomBytes } from 'node:crypto'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { createDatabase } from '../support/postgres.ts'
import { listenRaw, readAnswer } from '../support/raw-exchange.ts'
import { predictEnded } from '../support/predict.ts'
import { slow } from '../support/quick.ts'
import { startService } from '../support/service.ts'
import { apply, createStoredVideo, createStoringTask, storedAt } from '../support/stored-video.ts'

const lastModified = new Date(storedAt).toUTCString()

/** Requests a file by its name. */
function get (app: FastifyInstance, name: string, headers: Record<string, string> = {}, query: Record<string, string> = {}) {
  return app.inject({ url: `/videos/${name}`, headers, query })
}

t.test('a stored video is sent whole, with everything that players and caches want to know', async (t) => {
  const { app, logLines } = await startService(t)
  const content = randomBytes(700_001)
  const { name, task } = await createStoredVideo(app, { content })
  const response = await get(app, name)
  t.equal(response.statusCode, 200)
  t.strictSame(sha256(response.rawPayload), sha256(content))
  const headers = {
    'content-type': 'video/mp4',
    'content-length': '700001',
    'accept-ranges': 'bytes',
    etag: `"${name}"`,
    'last-modified': lastModified,
    'cache-control': 'public, max-age=31536000, immutable',
    'content-disposition': 'inline',
    'x-content-type-options': 'nosniff',
    'access-control-allow-origin': '*',
    'cross-origin-resource-policy': 'cross-origin'
  }
  t.match(response.headers, headers)
  const head = await app.inject({ method: 'HEAD', url: `/videos/${name}` })
  t.equal(head.statusCode, 200)
  t.equal(head.body, '')
  t.match(head.headers, headers, 'HEAD has the headers of GET')
  const lines = logLines.filter((line) => line.includes('"route":"/videos/:name"'))
  t.match(lines.map((line) => JSON.parse(line)), [{ task_id: task.id, status: 200 }, { task_id: task.id, status: 200 }])
  t.notMatch(logLines.join(), name, 'a reader of the log must not find the video')
})

t.test('HEAD does not read the file', async (t) => {
  const dataDir = t.testdir()
  const { app } = await startService(t, { env: { DATA_DIR: dataDir } })
  const { name } = await createStoredVideo(app)
  await rm(join(dataDir, 'videos', name))
  t.equal((await app.inject({ method: 'HEAD', url: `/videos/${name}` })).statusCode, 200)
})

t.test('a poster is sent as the image that it is', async (t) => {
  const { app } = await startService(t)
  const poster = randomBytes(2_000)
  const { posterName = '' } = await createStoredVideo(app, { poster })
  const response = await get(app, posterName)
  t.match(response.headers, { 'content-type': 'image/jpeg', 'content-length': '2000', etag: `"${posterName}"` })
  t.strictSame(response.rawPayload, poster)
  const part = await get(app, posterName, { range: 'bytes=1990-' })
  t.strictSame(part.rawPayload, poster.subarray(1_990))
})

t.test('a single range of bytes is 206, for every way to write one', async (t) => {
  const { app } = await startService(t)
  const { name, content } = await createStoredVideo(app, { content: randomBytes(300_000) })
  const ranges: Array<[string, number, number]> = [
    ['bytes=0-1', 0, 1], ['bytes=0-', 0, 299_999], ['bytes=0-0', 0, 0], ['bytes=299999-', 299_999, 299_999], ['bytes=-500', 299_500, 299_999],
    ['bytes=-999999', 0, 299_999], ['bytes=1000-250000', 1_000, 250_000], ['bytes=299000-999999', 299_000, 299_999],
    [`bytes=5-${'9'.repeat(400)}`, 5, 299_999], ['BYTES=0-1', 0, 1], ['bytes= 0-1', 0, 1], ['bytes=0-1,', 0, 1]
  ]
  for (const [range, start, end] of ranges) {
    const response = await get(app, name, { range })
    t.equal(response.statusCode, 206, range)
    t.match(response.headers, {
      'content-range': `bytes ${start}-${end}/300000`, 'content-length': String(end - start + 1), etag: `"${name}"`, 'content-type': 'video/mp4', 'accept-ranges': 'bytes'
    }, range)
    t.strictSame(sha256(response.rawPayload), sha256(content.subarray(start, end + 1)), range)
  }
})

t.test('what is no single range of bytes is answered with the whole file', async (t) => {
  const { app } = await startService(t)
  const { name, content } = await createStoredVideo(app)
  for (const range of ['bytes=0-1,3-4', 'bytes=5-2', 'bytes=', 'bytes', 'bytes=-', 'bytes=a-b', 'bytes=1-2-3', 'items=0-1', '', 'bytes=0x1-', 'bytes=-1,-2']) {
    const response = await get(app, name, { range })
    t.equal(response.statusCode, 200, range)
    t.strictSame(response.rawPayload, content, range)
    t.notOk('content-range' in response.headers, range)
  }
  const head = await app.inject({ method: 'HEAD', url: `/videos/${name}`, headers: { range: 'bytes=0-1' } })
  t.match({ ...head.headers, status: head.statusCode }, { status: 200, 'content-length': '1000' }, 'Range has a meaning for GET only')
})

t.test('a range outside of the file is 416 with its size', async (t) => {
  const { app } = await startService(t)
  const { name } = await createStoredVideo(app)
  for (const range of ['bytes=1000-', 'bytes=1000-1001', `bytes=${'9'.repeat(400)}-`, 'bytes=-0']) {
    const response = await get(app, name, { range })
    t.match(response.json(), { status: 416, code: 'range_not_satisfiable' }, range)
    t.match(response.headers, { 'content-range': 'bytes */1000', 'content-type': 'application/problem+json', 'cache-control': 'no-store' })
    t.equal(response.headers.etag, undefined)
  }
})

t.test('a range is sent only of the file that If-Range names', async (t) => {
  const { app } = await startService(t)
  const { name } = await createStoredVideo(app)
  const statusFor = async (ifRange: string, range = 'bytes=0-1') => (await get(app, name, { range, 'if-range': ifRange })).statusCode
  t.equal(await statusFor(`"${name}"`), 206)
  t.equal(await statusFor(lastModified), 206)
  t.equal(await statusFor('"other"'), 200)
  t.equal(await statusFor(`W/"${name}"`), 200, 'a weak tag does not do')
  t.equal(await statusFor(new Date(storedAt + 1_000).toUTCString()), 200, 'another time, also a later one')
  t.equal(await statusFor('nonsense'), 200)
  t.equal(await statusFor('"other"', 'bytes=5000-'), 200, 'then Range is as good as absent')
})

t.test('a client with a current copy gets 304, one with wrong expectations 412', async (t) => {
  const { app } = await startService(t)
  const { name } = await createStoredVideo(app)
  const [earlier, later] = [new Date(storedAt - 1_000).toUTCString(), new Date(storedAt + 1_000).toUTCString()]
  const expected: Array<[number, Record<string, string>]> = [
    [304, { 'if-none-match': `"${name}"` }],
    [304, { 'if-none-match': `"other", W/"${name}"`, range: 'bytes=0-1' }],
    [304, { 'if-none-match': '*' }],
    [304, { 'if-modified-since': lastModified }],
    [304, { 'if-modified-since': later }],
    [200, { 'if-modified-since': earlier }],
    [200, { 'if-modified-since': 'nonsense' }],
    [200, { 'if-none-match': '"other"', 'if-modified-since': later }],
    [412, { 'if-match': '"other"' }],
    [412, { 'if-match': `W/"${name}"` }],
    [412, { 'if-match': '"other"', 'if-none-match': `"${name}"` }],
    [412, { 'if-unmodified-since': earlier }],
    [200, { 'if-match': `"${name}"`, 'if-unmodified-since': earlier }],
    [206, { 'if-match': '*', range: 'bytes=0-1' }],
    [200, { 'if-unmodified-since': lastModified }]
  ]
  for (const [status, headers] of expected) {
    const response = await get(app, name, headers)
    const what = JSON.stringify(headers)
    t.equal(response.statusCode, status, what)
    t.equal((await app.inject({ method: 'HEAD', url: `/videos/${name}`, headers })).statusCode, status === 206 ? 200 : status, `HEAD ${what}`)
    if (status === 304) t.match({ ...response.headers, body: response.body }, { body: '', etag: `"${name}"`, 'cache-control': /immutable/, 'last-modified': lastModified })
    if (status === 412) t.match(response.json(), { code: 'precondition_failed' })
  }
})

t.test('?download=1 gives the file a name', async (t) => {
  const { app } = await startService(t)
  const { name, posterName = '', task } = await createStoredVideo(app, { style: 'Cursed', poster: randomBytes(10) })
  const dispositionOf = async (file: string, query: Record<string, string>) => (await get(app, file, {}, query)).headers['content-disposition']
  t.equal(await dispositionOf(name, { download: '1' }), `attachment; filename="dreamreel-cursed-${task.id}.mp4"`)
  t.equal(await dispositionOf(posterName, { download: '1' }), `attachment; filename="dreamreel-cursed-${task.id}.jpg"`)
  t.equal(await dispositionOf(name, { download: '0' }), 'inline')
  t.equal(await dispositionOf(name, { other: '1' }), 'inline')
})

t.test('a name that leads to no file is 404, also one that leaves the archive', async (t) => {
  const { app } = await startService(t, { env: { DATA_DIR: t.testdir() } })
  const { name } = await createStoredVideo(app)
  for (const wrong of [createArchiveName('mp4'), name.toLowerCase(), `${name}.mp4`, name.replace('mp4', 'webm'), '..%2Fdreamreel.db', '%00', 'x'.repeat(10_000), `${name}%2F`, 'unfinished']) {
    const response = await app.inject(`/videos/${wrong}`)
    t.match(response.json(), { status: 404, code: 'video_not_found' }, wrong.slice(0, 50))
    t.equal(response.headers['cache-control'], 'no-store')
  }
  for (const wrong of ['/videos/', '/videos/../dreamreel.db', `/videos/x/${name}`]) t.equal((await app.inject(wrong)).statusCode, 404, wrong)
  t.match((await app.inject({ method: 'POST', url: `/videos/${name}` })).headers, { allow: 'GET, HEAD' })
})

t.test('a video is served from the end of its task to its deletion, and 410 if it is lost', async (t) => {
  const { app } = await startService(t)
  const name = createArchiveName('mp4')
  const storing = await createStoringTask(app, name)
  const codeOf = async (file: string) => (await get(app, file)).json().code
  t.equal(await codeOf(name), 'video_not_found', 'clients are not given the address yet')
  const completed = await apply(app, storing, { type: 'complete', videoFile: null, videoWork: 'store' })
  await apply(app, completed, { type: 'lose_video' })
  t.equal(await codeOf(name), 'video_gone')
  t.equal((await app.inject({ method: 'HEAD', url: `/videos/${name}` })).statusCode, 410)

  const failed = createArchiveName('mp4')
  await apply(app, await createStoringTask(app, failed), { type: 'fail', failure: 'canceled' })
  t.equal(await codeOf(failed), 'video_not_found')

  const stored = await createStoredVideo(app)
  t.equal((await get(app, stored.name)).statusCode, 200)
  await app.inject({ method: 'DELETE', url: `/video-status/${stored.task.id}` })
  t.equal(await codeOf(stored.name), 'video_not_found')
})

t.test('a stored file that the archive has lost is 410, with one error line', async (t) => {
  const dataDir = t.testdir()
  const { app, logLines } = await startService(t, { env: { DATA_DIR: dataDir } })
  const { name, task } = await createStoredVideo(app)
  await rm(join(dataDir, 'videos', name))
  for (const range of ['bytes=0-1', 'bytes=5-']) t.match((await get(app, name, { range })).json(), { status: 410, code: 'video_gone' })
  const errors = logLines.map((line) => JSON.parse(line)).filter(({ level }) => level >= 50)
  t.equal(errors.length, 1)
  t.match(errors, [{ task_id: task.id, msg: /missing from the archive/ }])
})

t.test('an archive that cannot be read is 503', async (t) => {
  const dataDir = t.testdir()
  const { app, logLines } = await startService(t, { env: { DATA_DIR: dataDir } })
  const { name } = await createStoredVideo(app)
  await rm(join(dataDir, 'videos'), { recursive: true })
  // Now the path to the file leads through something that is no folder.
  t.testdir({ videos: 'no folder' })
  const response = await get(app, name)
  t.match(response.json(), { status: 503, code: 'archive_unavailable' })
  t.match(response.headers, { 'retry-after': '5', 'cache-control': 'no-store', 'content-type': 'application/problem+json' })
  t.ok(logLines.some((line) => line.includes('"level":50') && line.includes('ENOTDIR')))
})

t.test('a page of any site may use a video, under any host name, and nothing else', async (t) => {
  const { app } = await startService(t)
  const { name } = await createStoredVideo(app)
  const embedded = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'video', host: 'rebound.invalid' }
  for (const headers of [embedded, { ...embedded, 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', origin: 'https://other.example' }]) {
    const response = await get(app, name, { ...headers, range: 'bytes=0-1' })
    t.equal(response.statusCode, 206)
    t.equal(response.headers['access-control-allow-origin'], '*')
  }
  const missing = await get(app, createArchiveName('mp4'), embedded)
  t.match({ ...missing.headers, ...missing.json() }, { status: 404, 'access-control-allow-origin': '*' }, 'a page can read why')
  t.equal((await app.inject({ url: '/video-status', headers: embedded })).statusCode, 403)
})

t.test('a video is served from PostgreSQL’s tasks, too', slow, async (t) => {
  const { app } = await startService(t, { env: { DATABASE_URL: await createDatabase(t) } })
  const { name, content, posterName = '' } = await createStoredVideo(app, { poster: randomBytes(10) })
  t.strictSame((await get(app, name)).rawPayload, content)
  t.equal((await get(app, posterName)).headers['content-type'], 'image/jpeg')
})

/** A completed task whose video only the provider has. The archive cannot store it, because its folder is missing. */
async function createPendingVideo (t: Test) {
  const dataDir = t.testdir()
  const { app, emulator, apiUrl, logLines } = await startService(t, { env: { DATA_DIR: dataDir } })
  const prediction = await predictEnded({ emulator, apiUrl })
  const { bytes, sha256: hash } = await emulator.files.digest(prediction, 'video')
  const name = createArchiveName('mp4')
  await rename(join(dataDir, 'videos'), join(dataDir, 'elsewhere'))
  const storing = await createStoringTask(app, name, 'Animated', `${new URL(apiUrl).origin}/files/${prediction.id}/output.mp4`)
  await apply(app, storing, { type: 'complete', videoFile: null, videoWork: 'store' })
  return { app, emulator, name, bytes, hash, logLines }
}

t.test('a video that is not stored yet is passed on from the provider, as long as it has it', async (t) => {
  const { app, emulator, name, bytes, hash } = await createPendingVideo(t)
  const whole = await get(app, name)
  t.match({ ...whole.headers, status: whole.statusCode }, { status: 200, 'content-length': String(bytes), 'content-type': 'video/mp4', 'cache-control': 'no-store' })
  t.equal(whole.headers.etag, undefined)
  t.equal(sha256(whole.rawPayload), hash)
  const part = await get(app, name, { range: 'bytes=0-1' })
  t.match({ ...part.headers, status: part.statusCode }, { status: 206, 'content-range': `bytes 0-1/${bytes}`, 'content-length': '2' })
  t.strictSame(part.rawPayload, whole.rawPayload.subarray(0, 2))
  const head = await app.inject({ method: 'HEAD', url: `/videos/${name}` })
  t.match({ ...head.headers, status: head.statusCode, body: head.body }, { status: 200, 'content-length': String(bytes), body: '' })
  t.equal((await get(app, name, { range: `bytes=${bytes}-` })).statusCode, 416)

  emulator.addFault({ call: 'file', kind: 'status', status: 503 })
  t.match((await get(app, name)).json(), { status: 503, code: 'archive_unavailable' })
  emulator.wipe()
  t.match((await get(app, name)).json(), { status: 410, code: 'video_gone' })
})

t.test('of a video that is not stored yet, too, only single ranges are sent', async (t) => {
  const { app, name, bytes, hash } = await createPendingVideo(t)
  for (const headers of [{ range: 'bytes=0-1,5-6' }, { range: 'bytes=5-2' }, { range: 'items=0-1' }, { range: 'bytes=0-1', 'if-range': lastModified }]) {
    const response = await get(app, name, headers)
    t.equal(response.statusCode, 200, JSON.stringify(headers))
    t.equal(sha256(response.rawPayload), hash)
  }
  const last = await get(app, name, { range: 'bytes=-7' })
  t.match({ ...last.headers, status: last.statusCode }, { status: 206, 'content-range': `bytes ${bytes - 7}-${bytes - 1}/${bytes}` })
})

t.test('a limited number of videos is passed on at a time, and a client that leaves makes room', async (t) => {
  const { app, emulator, name, logLines } = await createPendingVideo(t)
  const open = await listenRaw(t, app)
  const request = `GET /videos/${name} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  emulator.addFault({ call: 'file', kind: 'hang', times: 1_000 })
  const sockets = await Promise.all(Array.from({ length: 65 }, open))
  for (const socket of sockets) socket.write(request)
  const refused = await Promise.race(sockets.map(readAnswer))
  t.equal(refused.status, 503)
  t.equal(refused.headers.get('retry-after'), '5')
  emulator.clearFaults()
  for (const socket of sockets) socket.destroy()
  await until(async () => (await get(app, name, { range: 'bytes=0-1' })).statusCode === 206 || undefined, 'room for another one')
  t.notOk(logLines.some((line) => line.includes('"level":50') && line.includes('request failed')), 'a client that leaves is no error')
})

function sha256 (bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
