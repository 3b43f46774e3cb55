import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'
import { cancelVideo } from '../services/generation/cancel-video.ts'
import { TaskSchema } from '../services/tasks/task-view.ts'
import { ignoreBodies } from './ignore-bodies.ts'
import { loadTask, TaskParamsSchema } from './load-task.ts'

/** Cancels a task in any open state, and its prediction. */
const cancelVideoRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, predictionWatch, replicate, presentTask } = app
  ignoreBodies(app)

  app.post('/video-status/:task_id/cancel', {
    schema: {
      operationId: 'cancelVideo',
      summary: 'Cancel a video',
      description: 'Ends the task at once with the status `failed` and the `error_code` `canceled`, and cancels its prediction at Replicate. The request body is ignored.',
      tags: ['Videos'],
      params: TaskParamsSchema,
      response: {
        200: { description: 'The task, which has now ended', content: { 'application/json': { schema: Type.Ref(TaskSchema) } } },
        ...problemResponses('task_not_found', 'task_finished', 'payload_too_large', 'store_unavailable')
      }
    }
  }, async (request) => {
    const { id } = await loadTask(request, taskStore)
    const answer = await cancelVideo(id, { taskStore, predictionWatch, replicate, log: request.log })
    switch (answer.outcome) {
      case 'canceled': return presentTask(answer.task, request.origin)
      case 'finished': throw problem('task_finished')
      case 'missing': throw problem('task_not_found')
    }
  })
}

export default cancelVideoRoutes
