import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'
import { isOpen, presentTask, TaskSchema } from '../services/task.ts'
import { pollAfterSeconds } from './poll-after.ts'

const ParamsSchema = Type.Object({
  task_id: Type.String({
    description: 'The `task_id` that the creation answered, in lower or upper case',
    examples: ['019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21']
  })
})

/** What has become of a task. */
const videoStatusRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore } = app

  app.get('/video-status/:task_id', {
    schema: {
      operationId: 'getVideoStatus',
      summary: 'What has become of a dream',
      description: 'Ask again after `Retry-After` seconds, and more slowly later on, until `status` is `completed` or `failed`.',
      tags: ['Videos'],
      params: ParamsSchema,
      response: {
        200: {
          description: 'The task as it is now',
          headers: {
            'Retry-After': Type.Integer({ description: 'Seconds to wait before asking again; absent once the task has ended' }),
            'Cache-Control': Type.String({ description: 'Always `no-store`' })
          },
          content: { 'application/json': { schema: Type.Ref(TaskSchema) } }
        },
        ...problemResponses('task_not_found', 'store_unavailable')
      }
    }
  }, async (request, reply) => {
    const taskId = request.params.task_id.toLowerCase()
    const task = await taskStore.get(taskId)
    if (task === undefined) throw problem('task_not_found')
    request.taskId = task.id
    reply.header('cache-control', 'no-store')
    if (isOpen(task)) reply.header('retry-after', pollAfterSeconds)
    return presentTask(task)
  })
}

export default videoStatusRoutes
