import type { Task } from '../tasks/task.ts'
import { failTask, remainingMs, transitionTask, type GenerationContext } from './held-task.ts'

/** An event of a change can be lost: the row is read again after this time. */
const refreshMs = 2_000

/**
 * Waits until the search has resolved a submission whose response was lost: the search attaches the prediction, or requeues
 * the task. At the deadline the task fails, because it is not known whether there is a prediction.
 */
export async function resolveAmbiguousSubmission (task: Task, context: GenerationContext): Promise<Task | undefined> {
  const changes = context.taskChanges.subscribe(task.id)
  try {
    let current: Task | undefined = await markIfSenderIsGone(task, context)
    while (current?.state === 'submitting') {
      if (remainingMs(task, context) === 0) return await failTask(current, 'submission_unknown', context)
      await changes.waitForChange(Math.min(remainingMs(task, context), refreshMs), context.signal)
      context.signal.throwIfAborted()
      current = await context.taskStore.get(task.id)
    }
    return current
  } finally {
    changes.close()
  }
}

/** Marks a submission as ambiguous and starts the search for its prediction. */
export async function markAmbiguous (task: Task, context: GenerationContext): Promise<Task | undefined> {
  const marked = await transitionTask(task, { type: 'mark_ambiguous' }, context)
  context.submissionSearch.wake()
  return marked.task
}

/** Another process has sent the create. If that process has certainly ended, nothing more is sent. */
async function markIfSenderIsGone (task: Task, context: GenerationContext): Promise<Task | undefined> {
  return task.submission?.isAmbiguous === false && context.taskStore.isExclusive ? markAmbiguous(task, context) : task
}
