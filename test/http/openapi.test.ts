import Fastify from 'fastify'
import { readFile } from 'node:fs/promises'
import t from 'tap'
import { errors, type Problem } from '../../errors.ts'
import openapi from '../../plugins/openapi.ts'
import { startService } from '../support/service.ts'

interface Parameter { name: string, required?: boolean, example?: unknown, examples?: unknown, schema: Record<string, unknown> }
interface Media { schema: Record<string, unknown>, examples?: Record<string, { value: Problem }> }
interface Response { $ref?: string, headers?: Record<string, unknown>, content?: Record<string, Media> }
interface Operation { operationId: string, summary: string, parameters?: Parameter[], responses: Record<string, Response> }
interface Document {
  info: { contact: { name: string } }
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, { properties: Record<string, unknown> }>, responses: Record<string, Response> }
}

const document: Document = JSON.parse(await readFile(new URL('../../openapi.json', import.meta.url), 'utf8'))
const operations = Object.values(document.paths).flatMap((path) => Object.values(path))
const operation = (id: string): Operation => {
  const found = operations.find(({ operationId }) => operationId === id)
  if (found === undefined) throw new Error(`There is no ${id}`)
  return found
}
const problemType = 'application/problem+json'

t.test('no optional parameter has an example, because the page would fill it in and send it', (t) => {
  const optional = operations.flatMap(({ parameters = [] }) => parameters.filter(({ required }) => required !== true))
  t.ok(optional.length > 5)
  for (const parameter of optional) {
    for (const place of [parameter, parameter.schema]) t.notMatch(Object.keys(place).join(), /example/, parameter.name)
  }
  t.end()
})

t.test('each response names its headers, and each problem has an example of its own', (t) => {
  const { ClientError, ServerError } = document.components.responses
  for (const { operationId, responses } of operations) {
    t.equal(responses['4XX']?.$ref, '#/components/responses/ClientError', operationId)
    t.equal(responses['5XX']?.$ref, '#/components/responses/ServerError', operationId)
  }
  const described = [...operations.flatMap(({ responses }) => Object.entries(responses)), ['4XX', ClientError], ['5XX', ServerError]] as const
  for (const [status, response] of described.filter(([, { $ref } = {}]) => $ref === undefined)) {
    t.hasProp(response?.headers ?? {}, 'X-Request-Id', status)
    if (status.startsWith('5')) t.hasProp(response?.headers ?? {}, 'Retry-After', status)
    if (!/^[45]/.test(status)) continue
    const examples = Object.entries(response?.content?.[problemType]?.examples ?? {})
    t.not(examples.length, 0, status)
    for (const [code, { value }] of examples) {
      t.equal(value.code, code)
      t.match(String(value.status), new RegExp(`^${status.replaceAll('X', '.')}$`))
      t.equal(errors[value.code].status, value.status)
      t.equal(value.errors !== undefined, code === 'validation_failed')
    }
  }
  t.hasProp(ClientError?.headers ?? {}, 'Allow')
  t.end()
})

t.test('the examples of problems are what the service responds with', async (t) => {
  const { app } = await startService(t)
  const examplesOf = (id: string, status: number) => operation(id).responses[status]?.content?.[problemType]?.examples ?? {}
  const faulty = (await app.inject({ method: 'POST', url: '/generate-video?dream=x&style=None' })).json()
  t.same({ ...examplesOf('generateVideo', 422).validation_failed?.value, request_id: faulty.request_id }, faulty)
  const missing = (await app.inject('/video-status/x')).json()
  t.same({ ...examplesOf('getVideoStatus', 404).task_not_found?.value, request_id: missing.request_id }, missing)
})

t.test('a stream of events is a string, and a nullable code is a reference or null', (t) => {
  const { schema } = operation('streamVideoStatus').responses['200']?.content?.['text/event-stream'] ?? {}
  t.same(schema, { $ref: '#/components/schemas/TaskEvents' })
  t.match(document.components.schemas.TaskEvents, { type: 'string', examples: [/^retry: \d+\n\nevent: status\nid: 3\ndata: \{/] })
  t.match(document.components.schemas.Task?.properties.error_code, { anyOf: [{ $ref: '#/components/schemas/ErrorCode' }, { type: 'null' }] })
  t.match(document.components.schemas.ErrorCode, { type: 'string', enum: ['content_policy'] })
  t.end()
})

t.test('a summary says what an operation does, because generators make it the documentation of a method', (t) => {
  for (const { summary } of operations) t.match(summary, /^(Cancel|Check|Create|Delete|Get|List|Stream) [^?]+$/)
  t.end()
})

t.test('the document and the files of its page are sent from one buffer each, and 304 confirms a current copy', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const buffers = new Map<string, Set<ArrayBufferLike>>()
  app.addHook('onSend', async ({ url, method }, _reply, payload) => {
    if (method === 'GET' && Buffer.isBuffer(payload)) buffers.set(url, new Set([...buffers.get(url) ?? [], payload.buffer]))
    return payload
  })
  app.register(openapi, { fileSources: [] })
  const types = {
    '/openapi.json': 'application/json; charset=utf-8',
    '/docs/json': 'application/json; charset=utf-8',
    '/docs/yaml': 'application/yaml',
    '/docs/static/swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
    '/docs/static/swagger-ui.css': 'text/css; charset=utf-8',
    '/docs/static/favicon-32x32.png': 'image/png'
  }
  for (const [url, type] of Object.entries(types)) {
    const answers = await Promise.all([app.inject(url), app.inject(url), app.inject(url)])
    const { headers: { etag = '', ...headers }, rawPayload } = answers[0]
    t.match(headers, { 'content-type': type, 'cache-control': 'no-cache', 'content-length': String(rawPayload.length) }, url)
    t.equal(buffers.get(url)?.size, 1, url)
    const unchanged = await app.inject({ url, headers: { 'if-none-match': `"other", W/${etag}` } })
    t.match({ ...unchanged, body: unchanged.body }, { statusCode: 304, body: '', headers: { etag } }, url)
    const head = await app.inject({ method: 'HEAD', url })
    t.match({ ...head, body: head.body }, { statusCode: 200, body: '', headers: { etag, 'content-length': headers['content-length'] } }, url)
  }
  for (const name of ['none.css', '..%2Fpackage.json', '%2e%2e/package.json', '']) t.equal((await app.inject(`/docs/static/${name}`)).statusCode, 404, name)
})
