import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { DownloadFailedError, VideoRefusedError } from '../../services/videos/download-errors.ts'
import type { VideoDownloader, VideoDownloaderOptions } from '../../services/videos/video-download.ts'
import { openDownloader, startFileServer } from '../support/file-server.ts'
import { answer, startScriptedServer } from '../support/scripted-server.ts'

/** Begins like an MP4 file. */
const video = Buffer.concat([Buffer.from('\0\0\0\x20ftypisom', 'latin1'), Buffer.alloc(300_000, 'a dream ')])
const { signal } = new AbortController()
const resumeBackoff = { firstMs: 2, maxMs: 10 }
const etag = '"one"'

async function setUp (t: Test, onRequest: RequestListener, options: Partial<VideoDownloaderOptions> = {}) {
  const server = await startFileServer(t, onRequest)
  return { server, downloader: openDownloader(t, { resumeBackoff, ...options }) }
}

async function download (downloader: VideoDownloader, url: string, over = signal): Promise<Buffer> {
  const { content, close } = await downloader.open(url, over)
  try {
    const chunks = []
    for await (const chunk of content) chunks.push(chunk)
    return Buffer.concat(chunks)
  } finally {
    close()
  }
}

/** Sends the whole file or the rest that is asked for, and breaks the connection after `bytes`. */
function serve ({ headers }: IncomingMessage, response: ServerResponse, { bytes = Infinity, more = {} as Record<string, string> } = {}): void {
  const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
  const rest = video.subarray(start)
  response.writeHead(headers.range === undefined ? 200 : 206, {
    'content-type': 'video/mp4',
    'content-length': rest.length,
    etag,
    ...(headers.range !== undefined && { 'content-range': `bytes ${start}-${video.length - 1}/${video.length}` }),
    ...more
  })
  if (bytes >= rest.length) response.end(rest)
  else response.write(rest.subarray(0, bytes), () => response.destroy())
}

t.test('a file that is cut off again and again is read to its end, by ranges of the same version', async (t) => {
  const { server, downloader } = await setUp(t, (request, response) => serve(request, response, { bytes: 20_000 }))
  t.strictSame(await download(downloader, server.url), video)
  const [first, ...resumed] = server.received
  t.equal(first?.headers.range, undefined)
  t.ok(resumed.length >= 14, `${resumed.length} more requests`)
  for (const { headers } of resumed) {
    t.match(headers.range, /^bytes=[1-9]\d*-$/)
    t.equal(headers['if-range'], etag)
  }
  await until(() => server.open === 0, 'all connections to be closed')
})

t.test('a file without a length is read to its end as well', async (t) => {
  const { server, downloader } = await setUp(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'binary/octet-stream' }).write(video.subarray(0, 5))
    response.end(video.subarray(5))
  })
  t.strictSame(await download(downloader, server.url), video)
})

t.test('a weak ETag does not identify the bytes: the time of the last change does, where there is one', async (t) => {
  for (const [more, ifRange] of [
    [{ etag: 'W/"one"', 'last-modified': 'Wed, 25 Nov 2026 10:00:00 GMT' }, 'Wed, 25 Nov 2026 10:00:00 GMT'],
    [{ etag: 'W/"one"' }, undefined]
  ] as const) {
    const { server, downloader } = await setUp(t, (request, response) => serve(request, response, { bytes: 200_000, more }))
    t.strictSame(await download(downloader, server.url), video)
    t.equal(server.received[1]?.headers['if-range'], ifRange)
  }
})

t.test('a rest that does not fit fails, and the download can be made again from the start', async (t) => {
  const cases: Record<string, RequestListener> = {
    'no ranges, or another version': (_request, response) => response.writeHead(200, { 'content-length': video.length }).end(video),
    'another size': (_request, response) => response.writeHead(206, { 'content-range': 'bytes 20000-300000/300001' }).end(video.subarray(20_000)),
    'another place': (_request, response) => response.writeHead(206, { 'content-range': `bytes 0-${video.length - 1}/${video.length}` }).end(video),
    'no place': (_request, response) => response.writeHead(206).end(video),
    'another ETag': (request, response) => serve(request, response, { more: { etag: '"two"' } }),
    'not satisfiable': (_request, response) => response.writeHead(416, { 'content-range': 'bytes */10' }).end()
  }
  for (const [name, onRest] of Object.entries(cases)) {
    let isBroken = true
    const { server, downloader } = await setUp(t, (request, response) => {
      if (request.headers.range === undefined) serve(request, response, isBroken ? { bytes: 20_000 } : {})
      else onRest(request, response)
    })
    await t.rejects(download(downloader, server.url), DownloadFailedError, name)
    isBroken = false
    t.strictSame(await download(downloader, server.url), video, name)
    await until(() => server.open === 0, 'all connections to be closed')
  }
})

t.test('a file that brings no more bytes fails after some requests, and one that is deleted meanwhile is gone', async (t) => {
  const { server, downloader } = await setUp(t, (request, response) => {
    if (request.headers.range === undefined) serve(request, response, { bytes: 20_000 })
    else response.writeHead(503).end()
  })
  await t.rejects(download(downloader, server.url), { name: 'DownloadFailedError', cause: { message: /503/ } })
  t.equal(server.received.length, 5)

  const deleted = await setUp(t, (request, response) => {
    if (request.headers.range === undefined) serve(request, response, { bytes: 20_000 })
    else response.writeHead(404).end()
  })
  await t.rejects(download(deleted.downloader, deleted.server.url), { name: 'VideoRefusedError', reason: 'gone' })
})

t.test('a failure in between does not count after more bytes have come', async (t) => {
  let requests = 0
  const { server, downloader } = await setUp(t, (request, response) => {
    if (++requests % 3 === 1) serve(request, response, { bytes: 50_000 })
    else response.writeHead(500).end()
  })
  t.strictSame(await download(downloader, server.url), video)
  t.ok(server.received.length > 15)
})

t.test('a length that is wrong does not make a whole file', async (t) => {
  const server = await startScriptedServer(t, (socket, { headers }) => {
    const isRest = headers.range !== undefined
    socket.end(isRest ? answer(416) : `HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: 400000\r\n\r\n${video.toString('latin1')}`, 'latin1')
  })
  await t.rejects(download(openDownloader(t, { resumeBackoff }), `${server.origin}/output.mp4`), DownloadFailedError)
})

t.test('what is not a video is refused for good', async (t) => {
  const cases: [string, number, Record<string, string>, Buffer | string, VideoRefusedError['reason']][] = [
    ['a page', 200, { 'content-type': 'text/html' }, video, 'no_video'],
    ['other first bytes', 200, { 'content-type': 'video/mp4' }, '<!doctype html><title>Sorry</title>', 'no_video'],
    ['nothing', 200, { 'content-type': 'video/mp4', 'content-length': '0' }, '', 'no_video'],
    ['less than a header', 200, {}, video.subarray(0, 11), 'no_video'],
    ['deleted', 404, {}, 'gone', 'gone'],
    ['deleted for good', 410, {}, 'gone', 'gone'],
    ['too large by its length', 200, { 'content-length': String(video.length) }, video, 'too_large'],
    ['too large by counting', 200, { 'transfer-encoding': 'chunked' }, video, 'too_large']
  ]
  for (const [name, status, headers, body, reason] of cases) {
    const { server, downloader } = await setUp(t, (_request, response) => response.writeHead(status, headers).end(body), { maxBytes: 200_000 })
    await t.rejects(download(downloader, server.url), { name: 'VideoRefusedError', reason }, name)
    t.equal(server.received.length, 1)
    await until(() => server.open === 0, 'the connection to be closed')
  }
})

t.test('a server that cannot serve now makes the download fail, which can be repeated', async (t) => {
  for (const status of [206, 304, 400, 401, 403, 429, 500, 503]) {
    const { server, downloader } = await setUp(t, (_request, response) => response.writeHead(status, { 'retry-after': '1' }).end())
    await t.rejects(download(downloader, server.url), { name: 'DownloadFailedError', message: new RegExp(String(status)) })
  }
  const hanging = await setUp(t, () => {}, { idleTimeoutMs: 50 })
  await t.rejects(download(hanging.downloader, hanging.server.url), DownloadFailedError)
  await until(() => hanging.server.open === 0, 'the connection to be closed')
  await t.rejects(download(hanging.downloader, 'http://127.0.0.1:1/output.mp4'), { name: 'DownloadFailedError', cause: { code: 'ECONNREFUSED' } })
})

t.test('a body that hangs is resumed', async (t) => {
  const { server, downloader } = await setUp(t, (request, response) => {
    if (request.headers.range !== undefined) return serve(request, response)
    response.writeHead(200, { 'content-type': 'video/mp4', 'content-length': video.length, etag }).write(video.subarray(0, 100_000))
  }, { idleTimeoutMs: 200 })
  t.strictSame(await download(downloader, server.url), video)
  t.equal(server.received.length, 2)
})

t.test('an encoded file is not accepted, and none is asked for', async (t) => {
  const { server, downloader } = await setUp(t, (request, response) => serve(request, response, { more: { 'content-encoding': 'gzip' } }))
  await t.rejects(download(downloader, server.url), { name: 'DownloadFailedError', message: /encoding gzip/ })
  t.equal(server.received[0]?.headers['accept-encoding'], 'identity')
})

t.test('the token goes to the host of the API, and not on with a redirect to the host of the files', async (t) => {
  const files = await startFileServer(t, (request, response) => serve(request, response))
  const api = await startFileServer(t, (request, response) => {
    response.writeHead(302, { location: request.url === '/v1/files/1' ? '/v1/files/2' : files.url }).end()
  })
  const downloader = openDownloader(t, {
    isTrusted: (url) => url.origin === api.origin || url.origin === files.origin,
    headersFor: () => ({ authorization: 'Bearer test-token' })
  })
  t.strictSame(await download(downloader, `${api.origin}/v1/files/1`), video)
  t.strictSame(api.received.map(({ headers }) => headers.authorization), ['Bearer test-token', 'Bearer test-token'])
  t.strictSame(files.received.map(({ headers }) => headers.authorization), [undefined])
})

t.test('a redirect to another host, to nothing, or in a circle is not followed', async (t) => {
  const other = await startFileServer(t, (request, response) => serve(request, response))
  let location: string | undefined = other.url
  const server = await startFileServer(t, (_request, response) => response.writeHead(302, location === undefined ? {} : { location }).end())
  const downloader = openDownloader(t, { isTrusted: (url) => url.origin === server.origin })
  await t.rejects(download(downloader, server.url), { name: 'DownloadFailedError', message: /not fetched from/ })
  await t.rejects(download(downloader, other.url), { name: 'DownloadFailedError', message: /not fetched from/ })
  t.equal(other.received.length, 0)
  for (location of ['http://[', undefined]) await t.rejects(download(downloader, server.url), DownloadFailedError)
  const before = server.received.length
  location = server.url
  await t.rejects(download(downloader, server.url), { name: 'DownloadFailedError', message: /redirects/ })
  t.equal(server.received.length - before, 4)
})

t.test('a private address is not connected to where that is not allowed', async (t) => {
  const { server, downloader } = await setUp(t, (request, response) => serve(request, response), {
    allowPrivate: false,
    lookup: (_hostname, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }])
  })
  const { port } = new URL(server.url)
  for (const host of ['files.example', '127.0.0.1', '[::1]', 'localhost']) {
    await t.rejects(download(downloader, `http://${host}:${port}/output.mp4`), { name: 'DownloadFailedError', cause: { code: 'not_public' } }, host)
  }
  t.equal(server.received.length, 0)
})

t.test('an abort ends a download at any moment, and its connection', async (t) => {
  const reason = new Error('The instance is stopping')
  const abortAfter = async (onRequest: RequestListener, shouldAbort: (received: number) => boolean) => {
    const { server, downloader } = await setUp(t, onRequest)
    const stopping = new AbortController()
    const reading = t.rejects(download(downloader, server.url, stopping.signal), reason)
    await until(() => shouldAbort(server.received.length), 'the moment')
    stopping.abort(reason)
    await reading
    await until(() => server.open === 0, 'the connection to be closed')
  }
  await abortAfter((request, response) => serve(request, response), () => true)
  await abortAfter(() => {}, (received) => received === 1)
  await abortAfter((_request, response) => response.writeHead(200, { 'content-type': 'video/mp4' }).write(video.subarray(0, 8)), (received) => received === 1)
  await abortAfter((_request, response) => response.writeHead(200, { 'content-type': 'video/mp4' }).write(video), (received) => received === 1)
  await abortAfter((request, response) => {
    if (request.headers.range === undefined) serve(request, response, { bytes: 20_000 })
  }, (received) => received === 2)
  const { server, downloader } = await setUp(t, (request, response) => serve(request, response))
  await t.rejects(download(downloader, server.url, AbortSignal.abort(reason)), reason)
  t.equal(server.received.length, 0)
})

t.test('a download that is not read leaves no connection behind, and neither does a closed downloader', async (t) => {
  const { server, downloader } = await setUp(t, (_request, response) => response.writeHead(200, { 'content-type': 'video/mp4' }).write(video))
  const { close } = await downloader.open(server.url, signal)
  t.equal(server.open, 1)
  close()
  await until(() => server.open === 0, 'the connection to be closed')
  const reading = t.rejects(download(downloader, server.url), DownloadFailedError)
  await until(() => server.received.length === 2, 'another download')
  await downloader.close()
  await reading
  await until(() => server.open === 0, 'the connection to be closed')
})

t.test('a range is passed through as the provider gives it', async (t) => {
  const { server, downloader } = await setUp(t, ({ headers }, response) => {
    switch (headers.range) {
      case undefined: return response.writeHead(200, { 'content-type': 'video/mp4', 'content-length': 9 }).end('the video')
      case 'bytes=4-8': return response.writeHead(206, { 'content-type': 'video/mp4', 'content-length': 5, 'content-range': 'bytes 4-8/9' }).end('video')
      default: return response.writeHead(416, { 'content-type': 'text/plain', 'content-range': 'bytes */9' }).end()
    }
  })
  const open = async (range?: string) => {
    const { body, ...head } = await downloader.openRange(server.url, range, signal)
    return { ...head, text: await text(body) }
  }
  t.strictSame(await open(), { status: 200, contentLength: 9, contentRange: undefined, text: 'the video' })
  t.strictSame(await open('bytes=4-8'), { status: 206, contentLength: 5, contentRange: 'bytes 4-8/9', text: 'video' })
  t.match(await open('bytes=20-'), { status: 416, contentRange: 'bytes */9', text: '' })
  t.equal(server.received[0]?.headers['accept-encoding'], 'identity')
  await until(() => server.open === 0, 'all connections to be closed')
})

t.test('a range that cannot be passed through is an error, also in the middle', async (t) => {
  const cases: [number, Record<string, string>, { name: string, reason?: string, message?: RegExp }][] = [
    [404, {}, { name: 'VideoRefusedError', reason: 'gone' }],
    [410, {}, { name: 'VideoRefusedError', reason: 'gone' }],
    [500, {}, { name: 'DownloadFailedError' }],
    [206, {}, { name: 'DownloadFailedError' }],
    [200, { 'content-type': 'text/html' }, { name: 'DownloadFailedError', message: /text.html/ }],
    [200, { 'content-encoding': 'br' }, { name: 'DownloadFailedError' }]
  ]
  for (const [status, headers, error] of cases) {
    const { server, downloader } = await setUp(t, (_request, response) => response.writeHead(status, headers).end('x'))
    await t.rejects(downloader.openRange(server.url, undefined, signal), error)
    await until(() => server.open === 0, 'the connection to be closed')
  }
  const cut = await setUp(t, (request, response) => serve(request, response, { bytes: 20_000 }))
  const { body } = await cut.downloader.openRange(cut.server.url, undefined, signal)
  await t.rejects(text(body))
  const endless = await setUp(t, (_request, response) => response.writeHead(200).write(video))
  const stopping = new AbortController()
  const passed = await endless.downloader.openRange(endless.server.url, undefined, stopping.signal)
  stopping.abort(new Error('The client has left'))
  await t.rejects(text(passed.body), { message: 'The client has left' })
  await until(() => endless.server.open === 0, 'the connection to be closed')
})

t.test('a thumbnail is fetched if it is an image that browsers show', async (t) => {
  const heads = {
    'image/jpeg': '\xff\xd8\xff\xe0', 'image/png': '\x89PNG\r\n\x1a\n', 'image/webp': 'RIFF\0\0\0\0WEBPVP8 '
  }
  let content = Buffer.alloc(0)
  let headers: Record<string, string> = {}
  const { server, downloader } = await setUp(t, (_request, response) => response.writeHead(200, headers).end(content))
  for (const [contentType, head] of Object.entries(heads)) {
    content = Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(100_000)])
    headers = { 'content-type': 'application/octet-stream' }
    t.match(await downloader.fetchImage(server.url, signal), { contentType, content })
  }
  for (const [body, type, reason] of [
    ['<svg xmlns="http://www.w3.org/2000/svg"/>', 'image/svg+xml', 'no_video'], ['', 'image/png', 'no_video'], [heads['image/png'], 'text/html', 'no_video'],
    [Buffer.alloc(5_000_001), 'image/png', 'too_large']
  ] as const) {
    content = Buffer.from(body)
    headers = { 'content-type': type }
    await t.rejects(downloader.fetchImage(server.url, signal), { name: 'VideoRefusedError', reason }, type)
  }
  await until(() => server.open === 0, 'all connections to be closed')
})
