import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { QuerySchema } from '../routes/generate-video.ts'
import { newTask } from '../services/tasks/task.ts'
import { presentTask, StyleSchema, TaskSchema, TaskStatusSchema, type TaskView } from '../services/tasks/task-view.ts'

/**
 * The baseline: the same two routes and schemas on a Fastify as it comes, with a Map in place of a store, and no
 * background work. Port from the first argument; logs at level info to standard output, as the service does.
 */
const app = Fastify({ logger: { level: 'info' } }).withTypeProvider<TypeBoxTypeProvider>()
const tasks = new Map<string, TaskView>()

for (const schema of [StyleSchema, TaskStatusSchema, TaskSchema]) app.addSchema(schema)

app.post('/generate-video', {
  schema: {
    querystring: QuerySchema,
    response: { 200: Type.Object({ task_id: Type.String(), status: Type.Ref(TaskStatusSchema) }) }
  }
}, async ({ query: { dream, style } }) => {
  const task = presentTask(newTask(dream, style, 840, Date.now()))
  tasks.set(task.task_id, task)
  return { task_id: task.task_id, status: task.status }
})

app.get('/video-status/:task_id', {
  schema: {
    params: Type.Object({ task_id: Type.String() }),
    response: { 200: Type.Ref(TaskSchema) }
  }
}, async ({ params }, reply) => tasks.get(params.task_id) ?? reply.callNotFound())

await app.listen({ port: Number(process.argv[2]), host: '127.0.0.1' })
