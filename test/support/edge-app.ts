import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { EventEmitter } from 'node:events'
import { Readable } from 'node:stream'
import type { Test } from 'tap'
import { problem, ProblemSchema, problemResponses } from '../../errors.ts'
import clientAddress from '../../plugins/client-address.ts'
import crossOrigin from '../../plugins/cross-origin.ts'
import problemDetails from '../../plugins/problem-details.ts'
import requestLog from '../../plugins/request-log.ts'
import unknownAddresses from '../../plugins/unknown-addresses.ts'
import { transformQuery } from '../../routes/transform-query.ts'
import { serverOptions, type ServerOptions } from '../../server-options.ts'
import { TrustedProxies } from '../../services/http/trusted-proxies.ts'
import { StoreUnavailableError } from '../../services/store/store-errors.ts'

const StyleSchema = Type.Unsafe<string>({ $id: 'Style', type: 'string', enum: ['Realistic', 'Animated', 'Cursed'] })

const GenerateQuerySchema = Type.Object({
  dream: Type.String({ minLength: 1, maxLength: 2000 }),
  style: Type.Unsafe<string>(Type.Ref('Style')),
  limit: Type.Optional(Type.Integer({ minimum: 1 }))
})

/** A Fastify app with the service's HTTP plugins, routes that fail in every possible way, and the routes that a test adds. */
export async function buildEdgeApp (t: Test, options: Partial<ServerOptions> = {}, addMore: (scope: FastifyInstance) => void = () => {}) {
  const lines: string[] = []
  const app = Fastify(serverOptions({
    logLevel: 'trace',
    secrets: [],
    trustedProxies: TrustedProxies.none,
    maxConnectionsPerAddress: 0,
    logStream: { write: (line) => { lines.push(line) } },
    requestTimeoutMs: 30_000,
    timeoutCheckMs: 5_000,
    lingeringMs: 10_000,
    idleTimeoutMs: 120_000,
    ...options
  }))
  const held = new EventEmitter<{ held: [FastifyReply] }>()
  app.addSchema(StyleSchema)
  app.addSchema(ProblemSchema)
  app.register(problemDetails)
  app.register(clientAddress, { proxies: options.trustedProxies ?? TrustedProxies.none })
  app.register(crossOrigin, { origins: undefined })
  app.register(unknownAddresses)
  app.register(requestLog)
  app.register(async (scope) => {
    addRoutes(scope)
    addFailingRoutes(scope)
    addMore(scope)
    scope.get('/holds', (_request, reply) => { held.emit('held', reply) })
  })
  t.teardown(() => app.close())
  await app.ready()
  return { app, lines, held }
}

function addRoutes (scope: FastifyInstance) {
  const app = scope.withTypeProvider<TypeBoxTypeProvider>()
  app.get('/video-status/:task_id', {
    schema: { params: Type.Object({ task_id: Type.String() }) }
  }, async (request) => {
    if (request.params.task_id === 'known') {
      request.taskId = '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21'
      return { known: true }
    }
    throw problem('task_not_found')
  })
  app.post('/generate-video', {
    schema: { querystring: GenerateQuerySchema, response: problemResponses('validation_failed') },
    preValidation: transformQuery('dream', (text) => text.trim())
  }, async ({ query }) => query)
  app.get('/two-parts/:number', {
    schema: { params: Type.Object({ number: Type.Integer() }), querystring: GenerateQuerySchema }
  }, async () => 'never')
  app.get('/files/*', async (request, reply) => {
    if (request.url.startsWith('/files/missing')) return reply.callNotFound()
    return 'a file'
  })
  app.put('/files/*', async () => 'stored')
}

function addFailingRoutes (app: FastifyInstance) {
  app.get('/throws', () => { throw new Error('internals: /home/secret') })
  app.get('/throws-text', () => { throw 'internals' }) // eslint-disable-line no-throw-literal
  app.get('/rejects', async () => { throw Object.assign(new Error('internals'), { statusCode: 502 }) })
  app.get('/rejects-nothing', () => Promise.reject()) // eslint-disable-line prefer-promise-reject-errors
  app.get('/store-unavailable', async () => { throw new StoreUnavailableError(new Error('internals: disk full')) })
  app.get('/teapot', async () => { throw Object.assign(new Error('internals'), { statusCode: 418 }) })
  app.get('/range-outside', async () => { throw Object.assign(new Error('internals'), { statusCode: 416 }) })
  app.get('/cannot-serialise', {
    schema: { response: { 200: Type.Object({ count: Type.Integer() }) } }
  }, async () => ({ count: 'internals' }))
  app.get('/declares-another-shape', {
    schema: { response: { 404: Type.Object({ other: Type.String() }) } }
  }, async () => { throw problem('task_not_found') })
  app.get('/sets-headers-first', (_request, reply) => {
    reply.code(201).headers({ location: '/x', etag: '"1"', 'cache-control': 'public', 'content-encoding': 'br', vary: 'Prefer' })
    throw problem('task_not_found')
  })
  app.get('/sends-twice', (_request, reply) => {
    reply.send('once')
    reply.send('again')
  })
  app.get('/breaks-off', (_request, reply) => {
    reply.send(new Readable({
      read () {
        this.push('some')
        setImmediate(() => this.destroy(new Error('broken')))
      }
    }))
  })
}
