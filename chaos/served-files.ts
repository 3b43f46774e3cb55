import { createHash } from 'node:crypto'
import type { TaskView } from '../services/tasks/task-view.ts'

/** What the address of a file was answered with; status 0 if there was no whole answer. */
export interface ServedFile {
  status: number
  type: string | null
  sha256: string
}

const maxAtOnce = 8
const timeoutMs = 30_000
const maxAttempts = 3

/**
 * Reads the videos of all completed tasks, from one instance of the service after another.
 * @returns by the id of the task
 */
export async function readVideos (tasks: TaskView[], urls: readonly string[]): Promise<Map<string, ServedFile>> {
  return await readFiles(tasks, urls, ({ status, video_url: address }) => status === 'completed' ? address : null)
}

/** As `readVideos`, for the posters of all tasks that have one. */
export async function readPosters (tasks: TaskView[], urls: readonly string[]): Promise<Map<string, ServedFile>> {
  return await readFiles(tasks, urls, ({ poster_url: address }) => address)
}

async function readFiles (tasks: TaskView[], urls: readonly string[], addressOf: (task: TaskView) => string | null): Promise<Map<string, ServedFile>> {
  const served = new Map<string, ServedFile>()
  const waiting = tasks.flatMap((task) => {
    const address = addressOf(task)
    return address === null ? [] : [{ id: task.task_id, path: new URL(address).pathname }]
  })
  const read = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      served.set(next.id, await readFile(next.path, urls[waiting.length % urls.length] ?? ''))
    }
  }
  await Promise.all(Array.from({ length: maxAtOnce }, read))
  return served
}

async function readFile (path: string, origin: string): Promise<ServedFile> {
  for (let attempt = 1; ; attempt++) {
    const file = await tryToRead(origin + path)
    if (attempt === maxAttempts || (file.status > 0 && file.status < 500)) return file
  }
}

async function tryToRead (address: string): Promise<ServedFile> {
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(timeoutMs) })
    const hash = createHash('sha256')
    for await (const chunk of response.body ?? []) hash.update(chunk)
    return { status: response.status, type: response.headers.get('content-type'), sha256: hash.digest('hex') }
  } catch {
    return { status: 0, type: null, sha256: '' }
  }
}
