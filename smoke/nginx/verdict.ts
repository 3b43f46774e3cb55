import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PredictionView } from '../../replicate-emulator/prediction.ts'
import { marker, type Crowd } from './load-clients.ts'
import type { AccessLine, Nginx } from './nginx.ts'

/** What has happened. */
export interface Course {
  crowd: Crowd
  /** of the instance that was told to stop */
  exitCode: number | null
  /** ms since 1970 */
  killedAt: number
  killedPort: number
}

const noticedWithinMs = 3_000

/** Everything that must not be, in words. */
export async function judge (course: Course, nginx: Nginx, predictions: PredictionView[]): Promise<string[]> {
  const { crowd, exitCode } = course
  const lines = await nginx.accessLines()
  const retried = lines.filter(({ upstream_status: tries }) => tries.includes(','))
  console.log(`${crowd.requests} requests, ${crowd.failures.length} failed, ${retried.length} retried; ${crowd.wishes.length} tasks: ` +
    [...crowd.endings].map(([ending, count]) => `${count} ${ending}`).join(', '))
  return [
    ...exitCode === 0 ? [] : [`the instance that was told to stop ended with ${exitCode}`],
    ...unexcused(course),
    ...strange(lines, course),
    ...crowd.open.map(({ taskId }) => `task ${taskId} has not ended`),
    ...[...crowd.endings].filter(([ending]) => ending !== 'completed').map(([ending, count]) => `${count} tasks ended as ${ending}`),
    ...uncounted(crowd, predictions),
    // A run in which nothing was tried proves nothing.
    ...retried.length === 0 ? ['nginx never had to ask another instance'] : []
  ]
}

/** A POST that was on the killed instance is all that may fail: whether it was sent is not known, so nobody repeats it. */
function unexcused ({ crowd, killedAt }: Course): string[] {
  return crowd.failures
    .filter(({ method, at }) => method !== 'POST' || at < killedAt || at > killedAt + noticedWithinMs)
    .map(({ method, what, at }) => `a ${method} failed ${at - killedAt} ms after the kill: ${what}`)
}

function strange (lines: AccessLine[], { killedPort }: Course): string[] {
  return lines
    .filter(({ status, upstream }) => status !== '200' && !upstream.endsWith(`:${killedPort}`))
    .map((line) => `nginx logged ${JSON.stringify(line)}`)
}

/** Each task has one prediction; also a POST that failed may have made one, but not two. */
function uncounted ({ wishes }: Crowd, predictions: PredictionView[]): string[] {
  const made = Map.groupBy(predictions, ({ input }) => /moonlitwhale ([0-9a-f-]{36})/.exec(String(input.prompt))?.[1] ?? 'nobody')
  return [
    ...wishes.filter(({ key }) => !made.has(key)).map(({ taskId }) => `task ${taskId} has no prediction`),
    ...[...made].filter(([, alike]) => alike.length > 1).map(([key, alike]) => `dream ${key} cost ${alike.length} predictions`)
  ]
}

/** Whether nginx has written a dream anywhere. */
export async function findLeaks ({ folder }: Nginx): Promise<string[]> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  const found = await Promise.all(files.map(async ({ name, parentPath }) => {
    const text = await readFile(join(parentPath, name), 'utf8')
    return text.includes(marker) || text.includes('🐋') || text.includes('%F0%9F%90%8B') ? [`a dream is in nginx's file ${name}`] : []
  }))
  return found.flat()
}
