import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PredictionView } from '../../replicate-emulator/prediction.ts'
import { marker, type LoadClients } from './load-clients.ts'
import type { AccessLine, Nginx } from './nginx.ts'

/** What happened in the run. */
export interface RunRecord {
  clients: LoadClients
  /** the exit code of the instance that was stopped */
  stopCode: number | null | undefined
  /** ms since 1970 */
  killedAt: number
  killedPort: number
}

const noticedWithinMs = 3_000

/** @returns a sentence for everything that must not happen and did */
export async function judge (record: RunRecord, nginx: Nginx, predictions: PredictionView[]): Promise<string[]> {
  const { clients, stopCode } = record
  const lines = await nginx.accessLines()
  const retried = lines.filter(({ upstream_status: tries }) => tries.includes(','))
  console.log(`${clients.requests} requests, ${clients.failures.length} failed, ${retried.length} retried; ${clients.tasks.length} tasks: ` +
    [...clients.ends].map(([end, count]) => `${count} ${end}`).join(', '))
  return [
    ...stopCode === 0 ? [] : [`the instance that was stopped ended with ${stopCode}`],
    ...unexcusedFailures(record),
    ...unexpectedLines(lines, record),
    ...clients.open.map(({ taskId }) => `task ${taskId} has not ended`),
    ...[...clients.ends].filter(([end]) => end !== 'completed').map(([end, count]) => `${count} tasks ended as ${end}`),
    ...wrongPredictions(clients, predictions),
    // A run without a retry proves nothing.
    ...retried.length === 0 ? ['nginx never passed a request to a second instance'] : []
  ]
}

/** Only a POST on the killed instance may fail: it is not known whether it arrived, so nginx does not repeat it. */
function unexcusedFailures ({ clients, killedAt }: RunRecord): string[] {
  return clients.failures
    .filter(({ method, at }) => method !== 'POST' || at < killedAt || at > killedAt + noticedWithinMs)
    .map(({ method, what, at }) => `a ${method} failed ${at - killedAt} ms after the kill: ${what}`)
}

function unexpectedLines (lines: AccessLine[], { killedPort }: RunRecord): string[] {
  return lines
    .filter(({ status, upstream }) => status !== '200' && !upstream.endsWith(`:${killedPort}`))
    .map((line) => `nginx logged ${JSON.stringify(line)}`)
}

/** Each task has one prediction. A POST that failed may have made one as well, but not two. */
function wrongPredictions ({ tasks }: LoadClients, predictions: PredictionView[]): string[] {
  const made = Map.groupBy(predictions, ({ input }) => /moonlitwhale ([0-9a-f-]{36})/.exec(String(input.prompt))?.[1] ?? 'without a key')
  return [
    ...tasks.filter(({ key }) => !made.has(key)).map(({ taskId }) => `task ${taskId} has no prediction`),
    ...[...made].filter(([, alike]) => alike.length > 1).map(([key, alike]) => `dream ${key} has ${alike.length} predictions`)
  ]
}

/** @returns a sentence for each file of nginx that contains a dream */
export async function findLeaks ({ folder }: Nginx): Promise<string[]> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  const found = await Promise.all(files.map(async ({ name, parentPath }) => {
    const text = await readFile(join(parentPath, name), 'utf8')
    return text.includes(marker) || text.includes('🐋') || text.includes('%F0%9F%90%8B') ? [`nginx's file ${name} contains a dream`] : []
  }))
  return found.flat()
}
