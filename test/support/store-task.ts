import type { TaskStore } from '../../services/store/task-store.ts'
import type { Task } from '../../services/tasks/task.ts'

/** Creates a task without a cap. @returns it as it was stored */
export async function storeTask (store: TaskStore, task: Task): Promise<Task> {
  const outcome = await store.create(task)
  if (outcome.outcome !== 'created') throw new Error(`${outcome.outcome} without a cap`)
  return outcome.task
}
