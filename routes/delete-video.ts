import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'
import { deleteVideo } from '../services/retention/delete-video.ts'
import { isOpen } from '../services/tasks/task.ts'
import { ignoreBodies } from './ignore-bodies.ts'
import { loadTask, TaskParamsSchema } from './load-task.ts'
import { allowLoopbackOnly, type LoopbackOnlyOptions } from './loopback-only.ts'

/** Deletes a task that has ended, for operators. */
const deleteVideoRoutes: FastifyPluginAsyncTypebox<LoopbackOnlyOptions> = async (app, { isLoopbackOnly }) => {
  const { taskStore, videoArchive } = app
  ignoreBodies(app)
  allowLoopbackOnly(app, isLoopbackOnly)

  app.delete('/video-status/:task_id', {
    schema: {
      operationId: 'deleteVideo',
      summary: 'Delete a video',
      description: 'Deletes a task that has ended, with all its data, its stored video and its poster. Only callers on the machine itself may do this while the service has no API keys.',
      tags: ['Videos'],
      params: TaskParamsSchema,
      response: {
        204: { ...Type.Null(), description: 'The task and its video have been deleted' },
        ...problemResponses('keys_required', 'task_not_found', 'task_not_finished', 'payload_too_large', 'store_unavailable', 'archive_unavailable')
      }
    }
  }, async (request, reply) => {
    const task = await loadTask(request, taskStore)
    if (isOpen(task)) throw problem('task_not_finished')
    // If another request has deleted the task since it was read here, the result is still what this request asked for.
    await deleteVideo(task, { taskStore, videoArchive })
    reply.code(204)
    return null
  })
}

export default deleteVideoRoutes
