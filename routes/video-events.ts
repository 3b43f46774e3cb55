import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { Readable } from 'node:stream'
import { problemResponses } from '../errors.ts'
import { statusEvents } from '../services/live-status/status-events.ts'
import { TaskSchema } from '../services/tasks/task-view.ts'
import { isOpen, type Task } from '../services/tasks/task.ts'
import { loadTask, TaskParamsSchema } from './load-task.ts'
import { callerOf } from './require-caller.ts'

const HeadersSchema = Type.Object({
  'last-event-id': Type.Optional(Type.String({ description: 'The `id` of the last event that was received, which is the task’s `revision`' }))
})

// The schema is a string, because OpenAPI 3.1 cannot describe a single event of a stream.
export const TaskEventsSchema = Type.String({
  $id: 'TaskEvents',
  description: 'Server-sent events. Each event has three fields: `event` is always `status`, `id` is the `revision` of the task, and `data` is the task as JSON on one line, exactly as `getVideoStatus` returns it (schema `Task`). Lines that begin with a colon are heartbeats without content. `retry` is the number of milliseconds to wait before reconnecting.',
  examples: [`retry: 5000\n\nevent: status\nid: 3\ndata: ${JSON.stringify(TaskSchema.examples[0])}\n\n`]
})

/** Streams the status of a task as server-sent events. */
const videoEventsRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, taskSubscriptions, accessControl, presentTask } = app

  app.get('/video-status/:task_id/events', {
    exposeHeadRoute: false,
    schema: {
      operationId: 'streamVideoStatus',
      summary: 'Stream the status of a video',
      description: 'Sends the current task first, then the task after each change, each as a server-sent event named `status`. The stream ends when the task has ended, or when the API key is no longer valid. A client that then reconnects with the `id` of the last event gets 204.',
      tags: ['Videos'],
      params: TaskParamsSchema,
      headers: HeadersSchema,
      response: {
        200: {
          description: 'The stream of events',
          headers: {
            'Cache-Control': Type.String({ description: '`no-cache, no-transform`' }),
            'X-Accel-Buffering': Type.String({ description: '`no`, so that nginx does not buffer events' })
          },
          content: { 'text/event-stream': { schema: Type.Ref('TaskEvents') } }
        },
        204: { ...Type.Null(), description: 'The task has ended and `Last-Event-ID` is its last event, so there is no reason to reconnect' },
        ...problemResponses('task_not_found', 'store_unavailable')
      }
    }
  }, async (request, reply) => {
    const task = await loadTask(request, taskStore)
    if (!isOpen(task) && parseLastEventId(request.headers['last-event-id']) >= task.revision) return reply.code(204).send(null)
    reply.headers({ 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no' })
    const present = (task: Task) => presentTask(task, request.origin)
    const caller = callerOf(request)
    const isAllowed = () => accessControl.isCurrent(caller)
    const events = statusEvents(task.id, { taskStore, taskSubscriptions, present, isAllowed, signal: request.signal })
    return reply.send(Readable.from(events, { highWaterMark: 1 }))
  })
}

function parseLastEventId (header: string | undefined): number {
  return /^\d+$/.test(header ?? '') ? Number(header) : 0
}

export default videoEventsRoutes
