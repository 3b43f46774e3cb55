import { videoStateOf, type StoredFile, type Task } from './task.ts'

/**
 * What there is under the name of a video or a poster. `pending`: it is not in the archive yet, but the provider has it. `lost`: the
 * provider deleted it before it was stored. `none`: the name does not lead to a file, or not yet.
 */
export type TaskFile =
  | { state: 'stored', file: StoredFile }
  | { state: 'pending', sourceUrl: string }
  | { state: 'lost' }
  | { state: 'none' }

/** @param name of the task's video or poster. Clients are given the name of a task that has completed, and of no other. */
export function findTaskFile (task: Task, name: string): TaskFile {
  if (task.state !== 'completed') return { state: 'none' }
  if (name === task.posterName) return task.posterFile === null ? { state: 'none' } : { state: 'stored', file: task.posterFile }
  if (name !== task.videoName) return { state: 'none' }
  if (task.videoFile !== null) return { state: 'stored', file: task.videoFile }
  if (videoStateOf(task) !== 'pending' || task.sourceUrl === null) return { state: 'lost' }
  return { state: 'pending', sourceUrl: task.sourceUrl }
}
