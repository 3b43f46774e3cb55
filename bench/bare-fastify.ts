import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyServerOptions } from 'fastify'
import { QuerySchema } from '../routes/generate-video.ts'
import { presentTask, StyleSchema, TaskFailureCodeSchema, TaskSchema, TaskStatusSchema, type TaskView } from '../services/tasks/task-view.ts'
import { newTask } from '../services/tasks/task.ts'

/**
 * The baseline of the measurements: the same two routes with the same schemas on an unconfigured Fastify, with a Map
 * instead of a store and without background work.
 */
export function buildBareFastify ({ logger }: Pick<FastifyServerOptions, 'logger'> = {}) {
  const app = Fastify({ logger: logger ?? false }).withTypeProvider<TypeBoxTypeProvider>()
  const tasks = new Map<string, TaskView>()

  for (const schema of [StyleSchema, TaskStatusSchema, TaskFailureCodeSchema, TaskSchema]) app.addSchema(schema)

  app.post('/generate-video', {
    schema: {
      querystring: QuerySchema,
      response: { 200: Type.Object({ task_id: Type.String(), status: Type.Ref(TaskStatusSchema) }) }
    }
  }, async ({ query: { dream, style } }) => {
    const task = presentTask(newTask(dream, style, 840, Date.now()), { origin: 'http://127.0.0.1', retentionMs: null })
    tasks.set(task.task_id, task)
    return { task_id: task.task_id, status: task.status }
  })

  app.get('/video-status/:task_id', {
    schema: {
      params: Type.Object({ task_id: Type.String() }),
      response: { 200: Type.Ref(TaskSchema) }
    }
  }, async ({ params }, reply) => tasks.get(params.task_id) ?? reply.callNotFound())

  return app
}
