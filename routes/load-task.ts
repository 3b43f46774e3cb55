import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { problem } from '../errors.ts'
import { canSee } from '../services/access/access-control.ts'
import type { TaskStore } from '../services/store/task-store.ts'
import type { Task } from '../services/tasks/task.ts'
import { callerOf } from './require-caller.ts'

export const TaskParamsSchema = Type.Object({
  task_id: Type.String({
    description: 'The `task_id` of the task, such as `019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21`, in lower or upper case'
  })
})

/**
 * Loads the task whose id is in the path of a request, and adds the id to the request's log line. Upper case is accepted, because Swift
 * writes UUIDs in upper case.
 * @throws ProblemError if there is no such task, or if it belongs to another API key
 */
export async function loadTask (request: FastifyRequest, taskStore: TaskStore): Promise<Task> {
  const { task_id: taskId } = request.params as { task_id: string }
  const task = await taskStore.get(taskId.toLowerCase())
  if (task === undefined || !canSee(callerOf(request), task)) throw problem('task_not_found')
  request.taskId = task.id
  return task
}
