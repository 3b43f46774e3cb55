import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { problem, problemResponses } from '../errors.ts'
import { formatEtag, matchesEtag } from '../services/http/etag.ts'
import { parseWaitSeconds } from '../services/http/prefer.ts'
import { TaskSchema } from '../services/tasks/task-view.ts'
import { isOpen, type Task } from '../services/tasks/task.ts'
import { addVary } from './add-vary.ts'
import { loadTask, TaskParamsSchema } from './load-task.ts'
import { assertStillAdmitted, callerOf } from './require-caller.ts'

/** The `Retry-After` of an open task, in seconds. The client apps begin to poll at this pace too. */
export const pollAfterSeconds = 5

const HeadersSchema = Type.Object({
  prefer: Type.Optional(Type.String({
    description: '`wait=30` delays the response until the task has ended or 30 seconds have passed; values above 60 count as 60'
  })),
  'if-none-match': Type.Optional(Type.String({
    description: 'The `ETag` of an earlier response, such as `"3"`. The response is 304 if nothing has changed since'
  }))
})

const headers = {
  'Cache-Control': Type.String({ description: 'Always `no-store`' }),
  ETag: Type.String({ description: 'Changes with `revision`' }),
  Vary: Type.String({ description: '`Prefer`, with `Origin` where pages of other origins are allowed' }),
  'Preference-Applied': Type.Optional(Type.String({ description: '`wait=n`, if the request asked to wait' }))
}

/** Gets the status of a task. */
const videoStatusRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, taskSubscriptions, accessControl, presentTask } = app

  app.get('/video-status/:task_id', {
    schema: {
      operationId: 'getVideoStatus',
      summary: 'Get the status of a video',
      description: 'Poll again after `Retry-After` seconds, and less often later on, until `status` is `completed` or `failed`. Or let the service hold the response until then with `Prefer: wait=n`.',
      tags: ['Videos'],
      params: TaskParamsSchema,
      headers: HeadersSchema,
      response: {
        200: {
          description: 'The current task',
          headers: {
            'Retry-After': Type.Optional(Type.Integer({ format: 'int32', description: 'The number of seconds to wait before polling again; absent once the task has ended' })),
            ...headers
          },
          content: { 'application/json': { schema: Type.Ref(TaskSchema) } }
        },
        304: { ...Type.Null(), description: 'Nothing has changed', headers },
        ...problemResponses('task_not_found', 'store_unavailable')
      }
    }
  }, async (request, reply) => {
    const found = await loadTask(request, taskStore)
    const seconds = request.method === 'HEAD' ? undefined : parseWaitSeconds(request.headers.prefer)
    const task = seconds === undefined ? found : await untilEnded(found, seconds, request)
    const etag = formatEtag(task)
    reply.headers({ 'cache-control': 'no-store', etag })
    addVary(reply, 'Prefer')
    if (seconds !== undefined) reply.header('preference-applied', `wait=${seconds}`)
    if (isOpen(task)) reply.header('retry-after', pollAfterSeconds)
    if (!matchesEtag(request.headers['if-none-match'], etag)) return presentTask(task, request.origin)
    reply.code(304)
  })

  /** Waits until the task has ended, the seconds have passed or the client has left. @returns the task as it is then */
  async function untilEnded (found: Task, seconds: number, request: FastifyRequest): Promise<Task> {
    const caller = callerOf(request)
    const subscription = taskSubscriptions.subscribe(found.id)
    const giveUpAt = performance.now() + seconds * 1_000
    try {
      for (;;) {
        const task = await taskStore.get(found.id)
        assertStillAdmitted(caller, accessControl)
        if (task === undefined) throw problem('task_not_found')
        const ms = giveUpAt - performance.now()
        if (!isOpen(task) || ms <= 0 || request.signal.aborted || taskSubscriptions.isStopping) return task
        await subscription.waitForChange(ms, request.signal)
        if (taskSubscriptions.isStopping) return task
      }
    } finally {
      subscription.close()
    }
  }
}

export default videoStatusRoutes
