import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { extname } from 'node:path'
import { problem, problemResponses } from '../errors.ts'
import { isSingleRange, parseByteRange } from '../services/http/byte-range.ts'
import { evaluatePreconditions, isRangeCurrent, type Validators } from '../services/http/conditional-request.ts'
import { findTaskFile } from '../services/tasks/task-file.ts'
import type { StoredFile, Task } from '../services/tasks/task.ts'
import { contentTypeOf, isArchiveName } from '../services/videos/archive-name.ts'
import { DownloadFailedError, VideoRefusedError } from '../services/videos/download-errors.ts'

export interface VideosRoutesOptions {
  /** whether the service sends stored videos itself, or redirects to the archive if that has addresses of its own */
  delivery: 'proxy' | 'redirect'
}

/** Longer than a pause of a viewer, because some players keep the address to which they were redirected. */
const signedUrlSeconds = 3_600
/** Videos that are passed on from the provider at a time, because each holds two connections. */
const maxPassedThrough = 64
/** Tasks for which a missing file is logged, each once. */
const maxLoggedTasks = 1_000

const ParamsSchema = Type.Object({
  name: Type.String({ description: 'The name at the end of `video_url` or `poster_url`, such as `dGhlIHdoYWxlIGluIHRoZQ.mp4`' })
})
const QuerySchema = Type.Object({
  download: Type.Optional(Type.String({ description: '`1` makes browsers save the file instead of showing it, under a name like `dreamreel-animated-019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21.mp4`' }))
})
const HeadersSchema = Type.Object({
  range: Type.Optional(Type.String({ description: 'One range of bytes, such as `bytes=0-1`, `bytes=1000-` or `bytes=-500`. Several ranges are ignored, and the whole file is sent' })),
  'if-range': Type.Optional(Type.String({ description: 'The `ETag` or the `Last-Modified` of an earlier response. If the file is another one by now, the whole file is sent' })),
  'if-none-match': Type.Optional(Type.String({ description: 'The `ETag` of an earlier response. The response is 304 if the file is still the same' })),
  'if-modified-since': Type.Optional(Type.String({ description: 'The `Last-Modified` of an earlier response. The response is 304 if the file is still the same' }))
})

const validatorHeaders = {
  ETag: Type.Optional(Type.String({ description: 'A strong validator. Absent while the video is not stored yet' })),
  'Last-Modified': Type.Optional(Type.String({ description: 'When the file was stored. Absent while the video is not stored yet' })),
  'Cache-Control': Type.String({ description: '`public, max-age=31536000, immutable`, because a file never changes; `no-store` while the video is not stored yet' })
}
const contentHeaders = {
  'Accept-Ranges': Type.String({ description: '`bytes`' }),
  'Content-Length': Type.Optional(Type.Integer({ format: 'int64', description: 'The number of bytes in this response' })),
  'Content-Disposition': Type.String({ description: '`inline`, or `attachment` with a file name if `download` is `1`' }),
  ...validatorHeaders
}
const binary = { schema: Type.String({ format: 'binary' }) }
const content = Object.fromEntries(['video/mp4', 'video/webm', 'video/quicktime', 'image/jpeg', 'image/png', 'image/webp'].map((type) => [type, binary]))
const problems = problemResponses('video_not_found', 'video_gone', 'precondition_failed', 'validation_failed', 'store_unavailable', 'archive_unavailable')
const unsatisfiable = {
  ...problemResponses('range_not_satisfiable')[416],
  headers: { 'Content-Range': Type.String({ description: 'The size of the file, such as `bytes */1048576`' }) }
}

/** Serves the files of the archive: videos and their posters. The name is the right to see them, so pages of any site may use them. */
const videosRoutes: FastifyPluginAsync<VideosRoutesOptions> = async (app, { delivery }) => {
  const { taskStore, videoArchive, videoDownloader } = app
  // Pages of any origin may read the files, so these routes have headers of their own.
  const config = { allowsAnySite: true, cors: false }
  const request = { params: ParamsSchema, querystring: QuerySchema, headers: HeadersSchema }
  const loggedTasks = new Set<string>()
  let passedThrough = 0

  app.addHook('onRequest', (_request, reply, done) => {
    reply.headers({ 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' })
    done()
  })

  app.get('/videos/:name', {
    // Fastify's own one would read the file.
    exposeHeadRoute: false,
    config,
    schema: {
      operationId: 'getVideo',
      summary: 'Get a video or a poster',
      description: 'Sends the file at the `video_url` or `poster_url` of a completed task, or a range of its bytes. The address is the right to see the file, so neither a header nor a page of the same site is needed. HEAD is supported.',
      tags: ['Videos'],
      security: [],
      ...request,
      response: {
        200: { description: 'The whole file', headers: contentHeaders, content },
        206: {
          description: 'The range of bytes that was requested',
          headers: { 'Content-Range': Type.String({ description: 'The range and the size of the file, such as `bytes 0-1/1048576`' }), ...contentHeaders },
          content
        },
        302: {
          ...Type.Null(),
          description: 'The file is at an address of the archive, which is valid for a short time. Only if `VIDEO_DELIVERY` is `redirect`',
          headers: { Location: Type.String({ description: 'That address' }), 'Cache-Control': Type.String({ description: '`no-store`' }) }
        },
        304: { ...Type.Null(), description: 'The client’s copy is still the same', headers: validatorHeaders },
        416: unsatisfiable,
        ...problems
      }
    }
  }, serve)
  app.head('/videos/:name', { config, schema: { hide: true, ...request } }, serve)

  async function serve (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { name } = request.params as { name: string }
    const task = isArchiveName(name) ? await taskStore.getByFileName(name) : undefined
    if (task === undefined) throw problem('video_not_found')
    request.taskId = task.id
    const found = findTaskFile(task, name)
    switch (found.state) {
      case 'none': throw problem('video_not_found')
      case 'lost': throw problem('video_gone')
      case 'pending': return await passThrough(found.sourceUrl, name, task, request, reply)
      case 'stored': return delivery === 'redirect' ? redirect(name, task, request, reply) : sendFile(name, task, found.file, request, reply)
    }
  }

  async function redirect (name: string, task: Task, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const method = request.method === 'HEAD' ? 'HEAD' : 'GET'
    const download = isDownload(request) ? fileName(task, name) : undefined
    const url = await videoArchive.signUrl(name, { method, expiresInSeconds: signedUrlSeconds, download })
    if (url === undefined) throw new Error('VIDEO_DELIVERY is redirect, but the archive has no addresses')
    return reply.header('cache-control', 'no-store').redirect(url, 302)
  }

  async function sendFile (name: string, task: Task, { contentType, bytes, storedAt }: StoredFile, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const validators = { etag: `"${name}"`, lastModified: Math.floor(storedAt / 1_000) * 1_000 }
    const range = rangeOf(request, bytes, validators)
    reply.headers({ 'cache-control': 'public, max-age=31536000, immutable', etag: validators.etag, 'last-modified': new Date(validators.lastModified).toUTCString() })
    switch (evaluatePreconditions(request.headers, validators)) {
      case 'failed': throw problem('precondition_failed')
      case 'not_modified': return reply.code(304).send()
    }
    if (range === 'unsatisfiable') throw problem('range_not_satisfiable', { headers: { 'content-range': `bytes */${bytes}` } })
    const content = request.method === 'HEAD' ? null : await videoArchive.read(name, range ?? { start: 0, end: bytes - 1 })
    if (content === undefined) {
      logMissing(task, request)
      throw problem('video_gone')
    }
    reply.headers({
      'accept-ranges': 'bytes',
      ...describeFile(name, task, request),
      'content-type': contentType,
      'content-length': range === undefined ? bytes : range.end - range.start + 1
    })
    if (range !== undefined) reply.code(206).header('content-range', `bytes ${range.start}-${range.end}/${bytes}`)
    return reply.send(content)
  }

  /** Sends a video that is not stored yet as the provider has it. It gets its validators when it is stored. */
  async function passThrough (sourceUrl: string, name: string, task: Task, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (passedThrough >= maxPassedThrough) throw problem('archive_unavailable', { detail: 'The video is not stored yet; try again in a few seconds' })
    passedThrough++
    reply.raw.once('close', () => { passedThrough-- })
    const source = await videoDownloader.openRange(sourceUrl, passedRangeOf(request), request.signal).catch((error: unknown) => {
      throw request.signal.aborted ? problem('archive_unavailable') : toProblem(error)
    })
    if (request.method === 'HEAD' || source.status === 416) source.body.destroy()
    const contentRange = source.contentRange === undefined ? {} : { 'content-range': source.contentRange }
    if (source.status === 416) throw problem('range_not_satisfiable', { headers: contentRange })
    reply.code(source.status).headers({ 'cache-control': 'no-store', 'accept-ranges': 'bytes', ...describeFile(name, task, request), ...contentRange })
    if (source.contentLength !== undefined) reply.header('content-length', source.contentLength)
    return reply.send(request.method === 'HEAD' ? null : source.body)
  }

  /** A file of the archive was lost. Players ask for the same one again and again. */
  function logMissing ({ id }: Task, { log }: FastifyRequest): void {
    if (loggedTasks.has(id) || loggedTasks.size === maxLoggedTasks) return
    loggedTasks.add(id)
    log.error({ task_id: id }, 'A file of a completed task is missing from the archive; it is answered with 410')
  }
}

/** The range that a GET request asks for. With HEAD, `Range` has no meaning. */
function rangeOf ({ method, headers }: FastifyRequest, bytes: number, validators: Validators): ReturnType<typeof parseByteRange> {
  return method === 'GET' && isRangeCurrent(headers, validators) ? parseByteRange(headers.range, bytes) : undefined
}

/** The range to ask the provider for. `If-Range` cannot name a file that has no validators, so then it is the whole file. */
function passedRangeOf ({ method, headers }: FastifyRequest): string | undefined {
  const { range, 'if-range': ifRange } = headers
  return method === 'GET' && ifRange === undefined && range !== undefined && isSingleRange(range) ? range : undefined
}

/** The provider's file is gone, or cannot be had at the moment. */
function toProblem (error: unknown): unknown {
  if (error instanceof VideoRefusedError) return problem('video_gone', { cause: error })
  if (error instanceof DownloadFailedError) return problem('archive_unavailable', { cause: error })
  return error
}

function describeFile (name: string, task: Task, request: FastifyRequest): Record<string, string> {
  return {
    'content-type': contentTypeOf(name),
    'content-disposition': isDownload(request) ? `attachment; filename="${fileName(task, name)}"` : 'inline'
  }
}

function isDownload ({ query }: FastifyRequest): boolean {
  return (query as { download?: string }).download === '1'
}

function fileName ({ id, style }: Task, name: string): string {
  return `dreamreel-${style.toLowerCase()}-${id}${extname(name)}`
}

export default videosRoutes
