import { backoffDelay, wait } from '../runtime/backoff.ts'
import { createDeadlineSignal } from '../runtime/deadline-signal.ts'
import type { Task, VideoWork } from '../tasks/task.ts'
import { createArchiveName, videoExtension } from '../videos/archive-name.ts'
import type { CopyOutcome } from '../videos/video-copier.ts'
import { failTask, remainingMs, transitionTask, type GenerationContext } from './held-task.ts'
import { TaskChangedError, watchTaskChange } from './task-change-signal.ts'

/** What came of the copy of a task's video. `late`: it was not possible before the deadline. */
type StoreOutcome = Exclude<CopyOutcome, { outcome: 'unavailable' }> | { outcome: 'changed' | 'late' }

const copyBackoff = { firstMs: 1_000, maxMs: 30_000 }
/** A file that is not there is asked for once more, after this time: a delivery network can be late with a new file. */
const goneConfirmationMs = 2_000

/** Commits where the finished video of a task is, and the name that it has in the archive from now on. */
export async function beginStoring (task: Task, sourceUrl: string, posterSourceUrl: string | null, context: GenerationContext): Promise<Task | undefined> {
  const videoName = createArchiveName(videoExtension(sourceUrl))
  return (await transitionTask(task, { type: 'store', sourceUrl, posterSourceUrl, videoName }, context)).task
}

/**
 * Copies the video of a task that is being stored into the archive, and completes the task. While the provider or the archive
 * is unavailable it tries again; at the deadline the task is completed all the same, and the copy is left to the backlog.
 * @throws the signal's reason when the instance stops
 */
export async function storeVideo (task: Task, context: GenerationContext): Promise<Task | undefined> {
  const result = await copyBeforeDeadline(task, context)
  switch (result.outcome) {
    case 'stored': return completeTask(task, result.file, context)
    case 'late': return completeUnstored(task, context)
    case 'changed': return await afterChange(task, context)
    case 'refused': return failTask(task, result.reason === 'no_video' ? 'no_output' : 'storage_failed', context, result)
  }
}

/** Completes a task whose video could not be stored before the deadline. */
export async function completeUnstored (task: Task, context: GenerationContext): Promise<Task | undefined> {
  const completed = await transitionTask(task, { type: 'complete', videoFile: null, videoWork: 'store' }, context)
  if (completed.applied) {
    context.log.warn({ task_id: task.id, prediction_id: task.predictionId }, 'Video completed, but it could not be stored before the deadline; storing it goes on')
    context.videoBacklog.wake()
  }
  return completed.task
}

/** Makes one attempt to copy a video, and another one if the file is not there. @throws the signal's reason */
export async function copyVideo (task: Task, { videoCopier }: Pick<GenerationContext, 'videoCopier'>, signal: AbortSignal): Promise<CopyOutcome> {
  const { sourceUrl, videoName } = requireVideo(task)
  const first = await videoCopier.copy(sourceUrl, videoName, signal)
  if (first.outcome !== 'refused' || first.reason !== 'gone') return first
  await wait(goneConfirmationMs, signal)
  return await videoCopier.copy(sourceUrl, videoName, signal)
}

async function copyBeforeDeadline (task: Task, context: GenerationContext): Promise<StoreOutcome> {
  if (remainingMs(task, context) === 0) return { outcome: 'late' }
  const taskChange = watchTaskChange(task, context)
  const inTime = createDeadlineSignal(taskChange.signal, remainingMs(task, context))
  try {
    return await copyUntilDecided(task, context, inTime.signal)
  } catch (error) {
    context.signal.throwIfAborted()
    if (error instanceof TaskChangedError) return { outcome: 'changed' }
    if (inTime.signal.aborted) return { outcome: 'late' }
    throw error
  } finally {
    inTime.dispose()
    taskChange.stop()
  }
}

async function copyUntilDecided (task: Task, context: GenerationContext, signal: AbortSignal): Promise<StoreOutcome> {
  for (let attempt = 0; ; attempt++) {
    const copied = await copyVideo(task, context, signal)
    if (copied.outcome === 'stored') context.copyFailure.succeeded()
    if (copied.outcome !== 'unavailable') return copied
    context.copyFailure.failed(copied.error, { task_id: task.id, prediction_id: task.predictionId })
    await wait(backoffDelay(attempt, copyBackoff), signal)
  }
}

async function completeTask (task: Task, videoFile: NonNullable<Task['videoFile']>, context: GenerationContext): Promise<Task | undefined> {
  const videoWork = workAfterStoring(task, context)
  const completed = await transitionTask(task, { type: 'complete', videoFile, videoWork }, context)
  if (completed.applied) {
    context.log.info({ task_id: task.id, prediction_id: task.predictionId, bytes: videoFile.bytes }, 'Video completed')
    if (videoWork !== null) context.videoBacklog.wake()
    return completed.task
  }
  return await afterChange(task, context)
}

/** Another writer has changed the task. If it has ended the task without the video, the file is not wanted any more. */
async function afterChange (task: Task, context: GenerationContext): Promise<Task | undefined> {
  const current = await context.taskStore.get(task.id)
  if (current?.videoName !== task.videoName || current.state === 'failed') await removeUnwanted(task.videoName, context)
  return current
}

/** What is left to do for a video once it is stored. */
export function workAfterStoring ({ posterSourceUrl }: Task, { frameExtractor }: Pick<GenerationContext, 'frameExtractor'>): VideoWork | null {
  return posterSourceUrl === null && frameExtractor === undefined ? null : 'poster'
}

/** Removes a file that no task names. If this fails, the sweep for orphans finds it later. */
export async function removeUnwanted (name: string | null, { videoArchive, log }: Pick<GenerationContext, 'videoArchive' | 'log'>): Promise<void> {
  if (name === null) return
  await videoArchive.remove(name).catch((err: unknown) => log.debug({ err }, 'A file of the archive that no task names could not be removed'))
}

function requireVideo ({ id, sourceUrl, videoName }: Task): { sourceUrl: string, videoName: string } {
  if (sourceUrl === null || videoName === null) throw new Error(`Task ${id} has no video`)
  return { sourceUrl, videoName }
}
