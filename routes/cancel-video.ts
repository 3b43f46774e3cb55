import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'
import { cancelVideo } from '../services/generation/cancel-video.ts'
import { presentTask, TaskSchema } from '../services/tasks/task-view.ts'
import { ignoreBodies } from './ignore-bodies.ts'
import { loadTask, TaskParamsSchema } from './load-task.ts'

/** Ends a task, and its prediction, at any point of its life. */
const cancelVideoRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, predictionWatch, replicate } = app
  ignoreBodies(app)

  app.post('/video-status/:task_id/cancel', {
    schema: {
      operationId: 'cancelVideo',
      summary: 'Cancel a video',
      description: 'Ends the task: its status is `failed` with the `error_code` `canceled` from then on. The prediction at Replicate is cancelled as well. A body is ignored.',
      tags: ['Videos'],
      params: TaskParamsSchema,
      response: {
        200: { description: 'The task, which has ended now', content: { 'application/json': { schema: Type.Ref(TaskSchema) } } },
        ...problemResponses('task_not_found', 'task_finished', 'payload_too_large', 'store_unavailable')
      }
    }
  }, async (request) => {
    const { id } = await loadTask(request, taskStore)
    const answer = await cancelVideo(id, { taskStore, predictionWatch, replicate, log: request.log })
    switch (answer.outcome) {
      case 'canceled': return presentTask(answer.task)
      case 'finished': throw problem('task_finished')
      case 'missing': throw problem('task_not_found')
    }
  })
}

export default cancelVideoRoutes
