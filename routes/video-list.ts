import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'
import { decodeCursor, encodeCursor } from '../services/http/list-cursor.ts'
import type { Style } from '../services/tasks/styles.ts'
import { TaskSchema } from '../services/tasks/task-view.ts'
import type { TaskStatus } from '../services/tasks/task.ts'
import { ignoreBodies } from './ignore-bodies.ts'
import { callerOf, requireOwnTasks } from './require-caller.ts'

const defaultItems = 20
const maxItems = 100

const QuerySchema = Type.Object({
  status: Type.Optional(Type.Unsafe<TaskStatus>({ ...Type.Ref('TaskStatus'), description: 'Return only tasks with this status' })),
  style: Type.Optional(Type.Unsafe<Style>({ ...Type.Ref('Style'), description: 'Return only tasks with this style' })),
  limit: Type.Optional(Type.Integer({ format: 'int64', minimum: 1, default: defaultItems, description: 'The maximum number of tasks to return; values above 100 count as 100' })),
  cursor: Type.Optional(Type.String({ description: 'The `next_cursor` of the previous page' }))
})

export const TaskListSchema = Type.Object({
  items: Type.Array(Type.Ref('Task'), { maxItems, description: 'The tasks, newest first' }),
  next_cursor: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'The `cursor` of the next page; null on the last page' })
}, { $id: 'TaskList', description: 'A page of tasks', examples: [{ items: TaskSchema.examples, next_cursor: null }] })

/** Lists the tasks of an API key, or all tasks. */
const videoListRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, presentTask } = app
  ignoreBodies(app)
  requireOwnTasks(app)

  app.get('/video-status', {
    schema: {
      operationId: 'listVideoStatuses',
      summary: 'List videos',
      description: 'Lists the tasks of the API key, or with an `admin` key all tasks, in pages, newest first. New tasks do not change the pages that follow. Only callers on the machine itself may do this while the service has no API keys.',
      tags: ['Videos'],
      querystring: QuerySchema,
      response: {
        200: { description: 'A page of tasks', content: { 'application/json': { schema: Type.Ref(TaskListSchema) } } },
        ...problemResponses('keys_required', 'validation_failed', 'store_unavailable')
      }
    }
  }, async (request, reply) => {
    const { query: { status, style, limit = defaultItems, cursor }, origin } = request
    const { isAdmin, keyName } = callerOf(request)
    const before = cursor === undefined ? undefined : decodeCursor(cursor)
    if (before === null) throw problem('validation_failed', { detail: 'cursor must be a next_cursor of this service', faults: [badCursor] })
    const most = Math.min(limit, maxItems)
    const tasks = await taskStore.list({ status, style, keyName: isAdmin ? undefined : keyName ?? '', before, limit: most + 1 })
    reply.header('cache-control', 'no-store')
    const items = tasks.slice(0, most)
    const last = items.at(-1)
    return { items: items.map((task) => presentTask(task, origin)), next_cursor: tasks.length > most && last !== undefined ? encodeCursor(last.id) : null }
  })
}

const badCursor = { loc: ['query', 'cursor'], msg: 'must be a next_cursor of this service', type: 'cursor' }

export default videoListRoutes
