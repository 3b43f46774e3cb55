import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { Readable } from 'node:stream'
import { problemResponses } from '../errors.ts'
import { statusEvents } from '../services/status-events.ts'
import { isOpen, TaskSchema } from '../services/task.ts'
import { TaskParamsSchema, taskOfRequest } from './task-of-request.ts'

const HeadersSchema = Type.Object({
  'last-event-id': Type.Optional(Type.String({ description: 'The `id` of the last event that was received', examples: ['2'] }))
})

/** The status of a task as a stream of server-sent events. */
const videoEventsRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, taskSubscriptions } = app

  app.get('/video-status/:task_id/events', {
    exposeHeadRoute: false,
    schema: {
      operationId: 'streamVideoStatus',
      summary: 'What becomes of a dream, as it happens',
      description: 'Server-sent events named `status`, each with the task as `getVideoStatus` gives it as `data` and its `revision` as `id`: the present state first, then every change. Ends with the task; a client that reconnects after that gets 204.',
      tags: ['Videos'],
      params: TaskParamsSchema,
      headers: HeadersSchema,
      response: {
        200: {
          description: 'The stream: `data` of each event is a task',
          headers: {
            'Cache-Control': Type.String({ description: '`no-cache, no-transform`' }),
            'X-Accel-Buffering': Type.String({ description: '`no`: nginx is not to hold events back' })
          },
          // Generators read it as the type of each event's `data`.
          content: { 'text/event-stream': { schema: Type.Ref(TaskSchema) } }
        },
        204: { ...Type.Null(), description: 'The task has ended, and `Last-Event-ID` is its last event: there is nothing to reconnect for' },
        ...problemResponses('task_not_found', 'store_unavailable')
      }
    }
  }, async (request, reply) => {
    const task = await taskOfRequest(request, taskStore)
    if (!isOpen(task) && lastEventOf(request.headers['last-event-id']) >= task.revision) return reply.code(204).send(null)
    reply.headers({ 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' })
    return reply.send(Readable.from(statusEvents(task.id, { taskStore, taskSubscriptions, signal: request.signal }), { highWaterMark: 1 }))
  })
}

function lastEventOf (header: string | undefined): number {
  return /^\d{1,9}$/.test(header ?? '') ? Number(header) : 0
}

export default videoEventsRoutes
