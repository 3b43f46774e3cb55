import type { FastifyInstance } from 'fastify'
import { randomBytes, randomUUID } from 'node:crypto'
import { newTask, type StoredFile, type Task, type Transition } from '../../services/tasks/task.ts'
import type { Style } from '../../services/tasks/styles.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { storeTask } from './store-task.ts'

/** 2027-01-15, 08:00 in UTC. */
export const storedAt = 1_800_000_000_000
const frame = { seconds: 1, width: 64, height: 64 }
const { signal } = new AbortController()

export interface StoredVideoOptions {
  dream?: string
  style?: Style
  /** the bytes of the video: any that can be told apart will do, because the archive does not look at them */
  content?: Buffer
  /** the bytes of its poster, if it has one */
  poster?: Buffer
}

/** A completed task whose video, and poster, are in the archive, with the bytes and the names of both. */
export async function createStoredVideo (app: FastifyInstance, { dream, style = 'Animated', content = randomBytes(1_000), poster }: StoredVideoOptions = {}) {
  const name = createArchiveName('mp4')
  const storing = await createStoringTask(app, name, style, undefined, dream)
  const videoFile = { ...await storeFile(app, name, content, 'video/mp4'), ...frame }
  if (poster === undefined) return { task: await apply(app, storing, { type: 'complete', videoFile, videoWork: null }), name, content }
  const posterName = createArchiveName('jpg')
  const file = await storeFile(app, posterName, poster, 'image/jpeg')
  // Right before the poster is recorded: the service itself would try to make one.
  const completed = await apply(app, storing, { type: 'complete', videoFile, videoWork: 'poster' })
  return { task: await apply(app, completed, { type: 'record_poster', poster: { name: posterName, file } }), name, content, posterName }
}

/** A task whose video is being stored. Nothing of it is in the archive. */
export async function createStoringTask (app: FastifyInstance, videoName: string, style: Style = 'Animated', sourceUrl = 'http://127.0.0.1:9/x/out.mp4', dream = 'A whale in the clouds'): Promise<Task> {
  const created = await storeTask(app.taskStore, newTask(dream, style, 600, Date.now()))
  const generating = await apply(app, created, { type: 'attach_prediction', predictionId: randomUUID(), predictionCreatedAt: null })
  return await apply(app, generating, { type: 'store', sourceUrl, posterSourceUrl: null, videoName })
}

/** Applies the transition, also to a task that the service itself has begun to work on meanwhile. */
export async function apply (app: FastifyInstance, task: Task, transition: Transition): Promise<Task> {
  for (let latest: Task | undefined = task; latest !== undefined; latest = await app.taskStore.get(task.id)) {
    const result = await app.taskStore.applyTransition(latest, transition)
    if (result.outcome === 'applied') return result.task
  }
  throw new Error('The task has been deleted')
}

async function storeFile (app: FastifyInstance, name: string, content: Buffer, contentType: string): Promise<StoredFile> {
  async function * chunks () { yield content }
  const bytes = await app.videoArchive.store(name, chunks(), { contentType, signal })
  return { contentType, bytes, storedAt }
}
