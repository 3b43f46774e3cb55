import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { IncomingHttpHeaders } from 'node:http'
import { problem, problemResponses, type ProblemError } from '../errors.ts'
import type { Caller } from '../services/access/access-control.ts'
import { parseCallbackUrl, type CallbackRules } from '../services/callbacks/callback-url.ts'
import { parsePrefer } from '../services/http/prefer.ts'
import { InvalidValue } from '../services/http/query-string.ts'
import { unquoteKey, fingerprintRequest, idempotencyKeyPattern } from '../services/store/idempotency-key.ts'
import type { TooManyOpenTasks } from '../services/store/open-task-caps.ts'
import type { Style } from '../services/tasks/styles.ts'
import { StyleSchema } from '../services/tasks/task-view.ts'
import { maxDreamLength, newTask, type Task, type TaskStatus } from '../services/tasks/task.ts'
import { addVary } from './add-vary.ts'
import { ignoreBodies } from './ignore-bodies.ts'
import { callerOf } from './require-caller.ts'
import { transformQuery } from './transform-query.ts'
import { pollAfterSeconds } from './video-status.ts'

export interface GenerateVideoRouteOptions {
  deadlineSeconds: number
  /** how many tasks of all callers may be open at a time; 0: any number */
  maxOpenTasks: number
  callbackRules: CallbackRules
  now: () => number
}

export const QuerySchema = Type.Object({
  dream: Type.String({
    minLength: 1,
    maxLength: maxDreamLength,
    description: 'What happens in the dream, 1 to 2,000 characters after trimming',
    examples: ['A whale swims through the clouds above my school']
  }),
  style: Type.Unsafe<Style>({ ...Type.Ref(StyleSchema), examples: ['Realistic'] }),
  callback_url: Type.Optional(Type.String({
    maxLength: 2048,
    description: 'An https address at port 443 of a public host, such as `https://app.example.com/dreams`. The service posts a signed message to it when the task has ended. It is refused unless the service has a `CALLBACK_SECRET`'
  }))
})

const HeadersSchema = Type.Object({
  prefer: Type.Optional(Type.String({
    description: '`respond-async` changes the status of the response to 202 (RFC 7240)'
  })),
  'idempotency-key': Type.Optional(Type.String({
    pattern: idempotencyKeyPattern,
    description: 'A key of this request, 1 to 255 visible ASCII characters. The same request with the same key within 24 hours gets the first response again and creates no second task. Callers without an API key share these keys: use random ones such as `8e03978e-40d5-43e8-bc93-6894a57f9324`'
  }))
})

export const AcceptedTaskSchema = Type.Object({
  task_id: Type.String({ format: 'uuid', description: 'The id of the new task, a UUIDv7' }),
  status: Type.Unsafe<TaskStatus>(Type.Ref('TaskStatus'))
}, {
  $id: 'AcceptedTask',
  description: 'An accepted task',
  examples: [{ task_id: '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21', status: 'pending' }]
})

const accepted = {
  headers: {
    Location: Type.String({ description: 'The path of the task’s status' }),
    'Retry-After': Type.Integer({ format: 'int32', description: 'The number of seconds to wait before polling the status' }),
    Vary: Type.String({ description: '`Prefer`, with `Origin` where pages of other origins are allowed' }),
    'Idempotency-Replayed': Type.Optional(Type.Literal('true', { description: 'Present if this is the response to an earlier request with this `Idempotency-Key`' }))
  },
  content: { 'application/json': { schema: Type.Ref(AcceptedTaskSchema) } }
}

/** Characters that show nothing: spaces, controls, format and other ignorable characters, and the blank Braille pattern. */
const invisibleText = /^[\p{Z}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]+$/u
const invisibleDream = new InvalidValue({ type: 'invisible', msg: 'must contain a visible character' })
const notInQuery = new InvalidValue({ type: 'missing', msg: 'is required as a query parameter; the body is ignored' })

function parseDream (text: string): string | InvalidValue {
  const dream = text.trim()
  return invisibleText.test(dream) ? invisibleDream : dream
}

/** Tells a client that sent a body instead of query parameters where the parameters belong. */
function reportMissingInQuery ({ query, headers }: { query: unknown, headers: IncomingHttpHeaders }, _reply: unknown, done: () => void): void {
  const hasBody = Number(headers['content-length'] ?? 0) > 0 || headers['transfer-encoding'] !== undefined
  const values = query as Record<string, unknown>
  if (hasBody) for (const name of ['dream', 'style']) values[name] ??= notInQuery
  done()
}

/** Accepts a dream and responds at once. The video is made in the background. */
const generateVideoRoutes: FastifyPluginAsyncTypebox<GenerateVideoRouteOptions> = async (app, { deadlineSeconds, maxOpenTasks, callbackRules, now }) => {
  const { taskStore, generationJobs } = app

  ignoreBodies(app)

  app.post('/generate-video', {
    config: { beginsTrace: true, createsTask: true },
    preValidation: [transformQuery('dream', parseDream), reportMissingInQuery, transformQuery('callback_url', parseCallback)],
    schema: {
      operationId: 'generateVideo',
      summary: 'Create a video',
      description: 'Creates a task that generates a video from a dream. The response comes as soon as the task is stored durably; the video is made in the background. The status of the task is at `Location`. A 503 means that no task was created, unless its `detail` says that this is not known: in that case send the request again with the same `Idempotency-Key`. The request body is ignored.',
      tags: ['Videos'],
      querystring: QuerySchema,
      headers: HeadersSchema,
      response: {
        200: { ...accepted, description: 'The task has been accepted' },
        202: {
          ...accepted,
          description: 'The task has been accepted, and the client sent `Prefer: respond-async`',
          headers: { ...accepted.headers, 'Preference-Applied': Type.String({ description: '`respond-async`' }) }
        },
        ...problemResponses('payload_too_large', 'validation_failed', 'idempotency_key_reused', 'idempotency_key_task_deleted', 'too_many_requests', 'too_many_open_tasks', 'service_full', 'store_unavailable')
      }
    }
  }, async (request, reply) => {
    const { dream, style, callback_url: callbackUrl = null } = request.query
    const isAsync = parsePrefer(request.headers.prefer).has('respond-async')
    const task = newTask(dream, style, deadlineSeconds, now(), { callbackUrl, origin: request.origin, keyName: callerOf(request).keyName, traceparent: request.traceparent })
    const { taskId, code, isReplayed } = await createTask(task, callerOf(request), isAsync ? 202 : 200, request.headers['idempotency-key'])
    request.taskId = taskId
    reply.code(code).headers({ location: `/video-status/${taskId}`, 'retry-after': pollAfterSeconds })
    addVary(reply, 'Prefer')
    if (code === 202) reply.header('preference-applied', 'respond-async')
    if (isReplayed) reply.header('idempotency-replayed', 'true')
    return { task_id: taskId, status: 'pending' as const }
  })

  function parseCallback (text: string): string | InvalidValue {
    const read = parseCallbackUrl(text, callbackRules)
    return read.ok ? read.url : new InvalidValue(read.fault)
  }

  async function createTask (task: Task, { entry }: Caller, code: 200 | 202, header: string | undefined) {
    const caps = { ofKey: entry?.limits.openTasks ?? null, inAll: maxOpenTasks === 0 ? null : maxOpenTasks }
    if (header === undefined) {
      const created = await taskStore.create(task, caps)
      if (created.outcome === 'too_many_open_tasks') throw toProblem(created)
    } else {
      const request = { scope: task.keyName ?? '', key: unquoteKey(header), fingerprint: fingerprintRequest(task), code }
      const once = await taskStore.createIdempotent(task, request, caps)
      if (once.outcome === 'too_many_open_tasks') throw toProblem(once)
      if (once.outcome === 'key_reused') throw problem('idempotency_key_reused')
      if (once.outcome === 'task_deleted') throw problem('idempotency_key_task_deleted')
      if (once.outcome === 'replayed') return { taskId: once.taskId, code: once.code, isReplayed: true }
    }
    generationJobs.wake()
    return { taskId: task.id, code, isReplayed: false }
  }
}

function toProblem ({ of }: TooManyOpenTasks): ProblemError {
  return problem(of === 'key' ? 'too_many_open_tasks' : 'service_full')
}

export default generateVideoRoutes
