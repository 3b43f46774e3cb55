import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { problem } from '../errors.ts'
import type { Task } from '../services/tasks/task.ts'
import type { TaskStore } from '../services/store/task-store.ts'

export const TaskParamsSchema = Type.Object({
  task_id: Type.String({
    description: 'The `task_id` that the creation answered, such as `019abf3e-7c11-7d6a-9d0e-3f1c5a7b9e21`, in lower or upper case'
  })
})

/**
 * The task that the path of a request names, in whatever case: Swift writes UUIDs in capitals. The log names it.
 * @throws ProblemError where there is none
 */
export async function loadTask (request: FastifyRequest, taskStore: TaskStore): Promise<Task> {
  const { task_id: taskId } = request.params as { task_id: string }
  const task = await taskStore.get(taskId.toLowerCase())
  if (task === undefined) throw problem('task_not_found')
  request.taskId = task.id
  return task
}
