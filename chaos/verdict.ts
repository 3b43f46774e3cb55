import type { PredictionView } from '../replicate-emulator/prediction.ts'
import { hasEnded, keyIn, type AcceptedTask, type Ledger } from './ledger.ts'

/** What must be none, with the tasks or predictions that it happened to. */
export interface Finding { what: string, affected: string[] }

export interface Verdict {
  accepted: number
  posts: number
  predictions: number
  /** tasks by status and error code */
  endings: Map<string, number>
  /** predictions that succeeded for a dream of which every task failed: paid for, and nobody has the video */
  inVain: number
  findings: Finding[]
}

/** Compares what the clients were told with what Replicate made, once everything has ended. */
export function reachVerdict (ledger: Ledger, predictions: PredictionView[]): Verdict {
  const tasks = [...ledger.tasks.values()]
  const byKey = Map.groupBy(predictions, ({ input }) => keyIn(input.prompt) ?? 'a dream of nobody')
  return {
    accepted: tasks.length,
    posts: [...ledger.posts.values()].reduce((sum, count) => sum + count, 0),
    predictions: predictions.length,
    endings: countBy(tasks.map(endingOf)),
    inVain: countInVain(tasks, byKey),
    findings: [
      { what: 'lost', affected: tasks.filter(({ isLost }) => isLost).map(({ id }) => id) },
      { what: 'not ended', affected: ledger.open.map(({ id }) => id) },
      { what: 'made twice', affected: madeTwice(ledger, byKey) },
      { what: 'moved after the end, or back', affected: tasks.flatMap(({ id, moves }) => moves.map((move) => `${id} ${move}`)) },
      { what: 'given the video of another dream', affected: tasks.filter((task) => hasForeignVideo(task, byKey)).map(({ id }) => id) },
      { what: 'given the video of another task', affected: sharedVideos(tasks) },
      { what: 'strange answers', affected: [...ledger.strange].map(([answer, count]) => `${answer}: ${count} times`) }
    ]
  }
}

function endingOf ({ last }: AcceptedTask): string {
  return [last?.status ?? 'never seen', last?.error_code].filter(Boolean).join(' ')
}

/**
 * A dream is POSTed so many times and no more, so it may cost so many predictions; also a POST whose answer no client
 * has read may have made a task.
 */
function madeTwice ({ posts }: Ledger, byKey: Map<string, PredictionView[]>): string[] {
  return [...byKey]
    .filter(([key, made]) => made.length > (posts.get(key) ?? 0))
    .map(([key, made]) => `${key}: POSTed ${posts.get(key) ?? 0} times, predictions ${made.map(({ id }) => id).join(' ')}`)
}

function countInVain (tasks: AcceptedTask[], byKey: Map<string, PredictionView[]>): number {
  const failed = [...Map.groupBy(tasks, ({ key }) => key)].filter(([, alike]) => alike.every(({ last }) => last?.status === 'failed'))
  return failed.flatMap(([key]) => byKey.get(key) ?? []).filter(({ status, output }) => status === 'succeeded' && output !== null).length
}

/** Tasks of the same dream may have swapped their predictions; any other prediction is somebody else's. */
function hasForeignVideo (task: AcceptedTask, byKey: Map<string, PredictionView[]>): boolean {
  const id = videoOf(task)
  return id !== undefined && byKey.get(task.key)?.some((prediction) => prediction.id === id) !== true
}

function sharedVideos (tasks: AcceptedTask[]): string[] {
  const given = Map.groupBy(tasks.filter((task) => videoOf(task) !== undefined), videoOf)
  return [...given].filter(([, owners]) => owners.length > 1).map(([id, owners]) => `${id}: ${owners.map((task) => task.id).join(' ')}`)
}

/** The prediction whose file at the emulator a task was given. */
function videoOf (task: AcceptedTask): string | undefined {
  return hasEnded(task) ? /\/files\/(\w+)\//.exec(task.last?.video_url ?? '')?.[1] : undefined
}

export function countBy (names: string[]): Map<string, number> {
  return new Map([...Map.groupBy(names, (name) => name)].map(([name, alike]) => [name, alike.length]))
}
