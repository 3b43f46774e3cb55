import type { TaskView } from '../services/tasks/task-view.ts'
import { dreamKey } from './observations.ts'
import type { ServedFile } from './served-files.ts'

/** How a task has ended, with what its address serves. */
export interface TaskEnd {
  id: string
  /** of the dream */
  key: string
  /** the error code of a failed task */
  error: string | null
  /** the prediction whose very file the address of the video serves */
  given: string | undefined
  /** The address answers that the video is gone. */
  isVideoLost: boolean
}

/**
 * @param served by the id of the task
 * @param predictions the id of each prediction by the SHA-256 of its file
 */
export function describeEnds (tasks: TaskView[], served: Map<string, ServedFile>, predictions: Map<string, string>): TaskEnd[] {
  return tasks.map((task) => {
    const file = served.get(task.task_id)
    return {
      id: task.task_id,
      key: dreamKey(task.dream),
      error: task.error_code,
      given: file?.status === 200 ? predictions.get(file.sha256) : undefined,
      isVideoLost: file?.status === 410
    }
  })
}
