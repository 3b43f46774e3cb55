import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { Readable } from 'node:stream'
import { problemResponses } from '../errors.ts'
import { statusEvents } from '../services/live-status/status-events.ts'
import { isOpen } from '../services/tasks/task.ts'
import { TaskSchema } from '../services/tasks/task-view.ts'
import { loadTask, TaskParamsSchema } from './load-task.ts'

const HeadersSchema = Type.Object({
  'last-event-id': Type.Optional(Type.String({ description: 'The `id` of the last event that was received, which is the `revision` of its task' }))
})

// A string, for the body is no JSON: OpenAPI 3.1 has no schema for the single event of a stream.
export const TaskEventsSchema = Type.String({
  $id: 'TaskEvents',
  description: 'Server-sent events. Each event has three fields: `event` is always `status`, `id` is the `revision` of the task, and `data` is the task as JSON on one line, exactly as `getVideoStatus` gives it (the schema `Task`). Lines that begin with a colon are signs of life and carry nothing; `retry` is how many milliseconds to wait before reconnecting.',
  examples: [`retry: 5000\n\nevent: status\nid: 3\ndata: ${JSON.stringify(TaskSchema.examples[0])}\n\n`]
})

/** The status of a task as a stream of server-sent events. */
const videoEventsRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, taskSubscriptions } = app

  app.get('/video-status/:task_id/events', {
    exposeHeadRoute: false,
    schema: {
      operationId: 'streamVideoStatus',
      summary: 'Follow a video with server-sent events',
      description: 'The present state of the task first, then every change, each as an event named `status`. The stream ends when the task has ended; a client that reconnects with the `id` of the last event gets 204.',
      tags: ['Videos'],
      params: TaskParamsSchema,
      headers: HeadersSchema,
      response: {
        200: {
          description: 'The stream of events',
          headers: {
            'Cache-Control': Type.String({ description: '`no-cache, no-transform`' }),
            'X-Accel-Buffering': Type.String({ description: '`no`: nginx is not to hold events back' })
          },
          content: { 'text/event-stream': { schema: Type.Ref('TaskEvents') } }
        },
        204: { ...Type.Null(), description: 'The task has ended, and `Last-Event-ID` is its last event: there is nothing to reconnect for' },
        ...problemResponses('task_not_found', 'store_unavailable')
      }
    }
  }, async (request, reply) => {
    const task = await loadTask(request, taskStore)
    if (!isOpen(task) && parseLastEventId(request.headers['last-event-id']) >= task.revision) return reply.code(204).send(null)
    reply.headers({ 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' })
    return reply.send(Readable.from(statusEvents(task.id, { taskStore, taskSubscriptions, signal: request.signal }), { highWaterMark: 1 }))
  })
}

function parseLastEventId (header: string | undefined): number {
  return /^\d+$/.test(header ?? '') ? Number(header) : 0
}

export default videoEventsRoutes
