import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { problem, problemResponses } from '../errors.ts'
import { deleteVideo } from '../services/retention/delete-video.ts'
import { isOpen } from '../services/tasks/task.ts'
import { ignoreBodies } from './ignore-bodies.ts'
import { loadTask, TaskParamsSchema } from './load-task.ts'
import { callerOf, requireOwnTasks } from './require-caller.ts'

/** Deletes a task that has ended. */
const deleteVideoRoutes: FastifyPluginAsyncTypebox = async (app) => {
  const { taskStore, videoArchive } = app
  ignoreBodies(app)
  requireOwnTasks(app)

  app.delete('/video-status/:task_id', {
    schema: {
      operationId: 'deleteVideo',
      summary: 'Delete a video',
      description: 'Deletes a task that has ended, with all its data, its stored video and its poster. A task that was made without an API key is deleted with an `admin` key only. Only callers on the machine itself may do this while the service has no API keys.',
      tags: ['Videos'],
      params: TaskParamsSchema,
      response: {
        204: { ...Type.Null(), description: 'The task and its video have been deleted' },
        ...problemResponses('keys_required', 'admin_required', 'task_not_found', 'task_not_finished', 'payload_too_large', 'store_unavailable', 'archive_unavailable')
      }
    }
  }, async (request, reply) => {
    const task = await loadTask(request, taskStore)
    if (task.keyName === null && !callerOf(request).isAdmin) throw problem('admin_required', { detail: 'The task was made without an API key: only a key with the right `admin` can delete it' })
    if (isOpen(task)) throw problem('task_not_finished')
    // If another request has deleted the task since it was read here, the result is still what this request asked for.
    await deleteVideo(task, { taskStore, videoArchive })
    reply.code(204)
    return null
  })
}

export default deleteVideoRoutes
