import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problemResponses } from '../errors.ts'
import { parsePrefer } from '../services/prefer.ts'
import { trimQuery } from '../services/query-string.ts'
import type { Style } from '../services/styles.ts'
import { newTask, statusOf, StyleSchema, type TaskStatus } from '../services/task.ts'
import { ignoreBodies } from './ignored-body.ts'
import { pollAfterSeconds } from './poll-after.ts'

export interface GenerateVideoRouteOptions {
  deadlineSeconds: number
  now: () => number
}

export const QuerySchema = Type.Object({
  dream: Type.String({
    minLength: 1,
    maxLength: 2000,
    description: 'What happens in the dream: 1 to 2,000 characters, counted after trimming',
    examples: ['A whale swims through the clouds above my school']
  }),
  style: Type.Unsafe<Style>({ ...Type.Ref(StyleSchema), examples: ['Realistic'] })
})

const HeadersSchema = Type.Object({
  prefer: Type.Optional(Type.String({
    description: '`respond-async` changes the code of the answer to 202 (RFC 7240)', examples: ['respond-async']
  }))
})

export const AcceptedTaskSchema = Type.Object({
  task_id: Type.String({ format: 'uuid', description: 'The id of the new task, a UUIDv7' }),
  status: Type.Unsafe<TaskStatus>(Type.Ref('TaskStatus'))
}, {
  $id: 'AcceptedTask',
  description: 'A task that was accepted',
  examples: [{ task_id: '019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21', status: 'pending' }]
})

const accepted = {
  headers: {
    Location: Type.String({ description: 'The address of the task’s status' }),
    'Retry-After': Type.Integer({ description: 'Seconds to wait before asking for the status' }),
    Vary: Type.String({ description: '`Prefer`' })
  },
  content: { 'application/json': { schema: Type.Ref(AcceptedTaskSchema) } }
}

/** Takes a dream and answers at once; the video is made in the background. */
const generateVideoRoutes: FastifyPluginAsyncTypebox<GenerateVideoRouteOptions> = async (app, { deadlineSeconds, now }) => {
  const { taskStore, generationJobs } = app

  ignoreBodies(app)

  app.post('/generate-video', {
    preValidation: trimQuery('dream'),
    schema: {
      operationId: 'generateVideo',
      summary: 'Make a video of a dream',
      description: 'Answers at once with the id of a task that is safe on disk. Its status is at `Location`. A body is ignored.',
      tags: ['Videos'],
      querystring: QuerySchema,
      headers: HeadersSchema,
      response: {
        200: { ...accepted, description: 'The task is accepted' },
        202: {
          ...accepted,
          description: 'The same, to a client that sent `Prefer: respond-async`',
          headers: { ...accepted.headers, 'Preference-Applied': Type.String({ description: '`respond-async`' }) }
        },
        ...problemResponses('payload_too_large', 'validation_failed', 'store_unavailable')
      }
    }
  }, async (request, reply) => {
    const { dream, style } = request.query
    const task = await taskStore.create(newTask(dream, style, deadlineSeconds, now()))
    generationJobs.wake()
    request.taskId = task.id
    reply.headers({ location: `/video-status/${task.id}`, 'retry-after': pollAfterSeconds, vary: 'Prefer' })
    if (parsePrefer(request.headers.prefer).has('respond-async')) {
      reply.code(202).header('preference-applied', 'respond-async')
    }
    return { task_id: task.id, status: statusOf(task) }
  })
}

export default generateVideoRoutes
