import type { TaskView } from '../services/tasks/task-view.ts'
import { hasEnded, type AcceptedTask, type Ledger } from './observations.ts'
import { balance, videoOf, type Account, type Made } from './paid-in-vain.ts'

/** What must be none, with the tasks or predictions that it happened to. */
export interface Finding { what: string, affected: string[] }

export interface Verdict {
  accepted: number
  posts: number
  predictions: number
  /** of these, by other clients of the account */
  foreign: number
  /** tasks by status and error code */
  endings: Map<string, number>
  /** predictions that were made for the service and not used, though no cancelled task is a reason */
  inVain: number
  findings: Finding[]
}

export interface Evidence {
  ledger: Ledger
  /** Every task of the service, also those whose id no client has read. */
  allTasks: TaskView[]
  made: Made[]
  /** Whether what was paid for and not used is a finding. */
  mustBeUsed: boolean
}

/** Compares what the clients were told with what Replicate made, once everything has ended. */
export function reachVerdict ({ ledger, allTasks, made, mustBeUsed }: Evidence): Verdict {
  const tasks = [...ledger.tasks.values()]
  const byKey = Map.groupBy(made, ({ key }) => key)
  const accounts = balance(allTasks, made)
  return {
    accepted: tasks.length,
    posts: [...ledger.posts.values()].reduce((sum, count) => sum + count, 0),
    predictions: made.length,
    foreign: made.filter(({ isForeign }) => isForeign).length,
    endings: countBy(tasks.map(endingOf)),
    inVain: accounts.reduce((sum, { inVain }) => sum + inVain, 0),
    findings: [
      { what: 'lost', affected: tasks.filter(({ isLost }) => isLost).map(({ id }) => id) },
      { what: 'not ended', affected: ledger.open.map(({ id }) => id) },
      { what: 'made twice', affected: madeTwice(ledger, byKey) },
      { what: 'moved after the end, or back', affected: tasks.flatMap(({ id, moves }) => moves.map((move) => `${id} ${move}`)) },
      { what: 'given the video of another dream', affected: tasks.filter((task) => hasForeignVideo(task, byKey)).map(({ id }) => id) },
      { what: 'given the video of another task', affected: sharedVideos(tasks) },
      { what: 'strange answers', affected: [...ledger.strange].map(([answer, count]) => `${answer}: ${count} times`) },
      ...(mustBeUsed ? unusedFindings(accounts) : [])
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
function madeTwice ({ posts }: Ledger, byKey: Map<string, Made[]>): string[] {
  return [...byKey]
    .map(([key, made]) => [key, made.filter(({ isForeign }) => !isForeign)] as const)
    .filter(([key, made]) => made.length > (posts.get(key) ?? 0))
    .map(([key, made]) => `${key}: POSTed ${posts.get(key) ?? 0} times, predictions ${made.map(({ id }) => id).join(' ')}`)
}

function unusedFindings (accounts: Account[]): Finding[] {
  return [
    {
      what: 'dreams paid for in vain',
      affected: accounts.filter(({ inVain }) => inVain > 0)
        .map(({ key, inVain, unused }) => `${key}: ${inVain} of the predictions ${unused.map(({ id }) => id).join(' ')}`)
    },
    {
      what: 'dreams failed without a verdict',
      affected: accounts.filter(({ failedForNothing }) => failedForNothing > 0).map(({ key, failedForNothing }) => `${key}: ${failedForNothing} tasks`)
    }
  ]
}

/** Tasks of the same dream may have swapped their predictions; any other prediction is somebody else's. */
function hasForeignVideo (task: AcceptedTask, byKey: Map<string, Made[]>): boolean {
  const id = videoGivenTo(task)
  return id !== undefined && byKey.get(task.key)?.some((prediction) => prediction.id === id) !== true
}

function sharedVideos (tasks: AcceptedTask[]): string[] {
  const given = Map.groupBy(tasks.filter((task) => videoGivenTo(task) !== undefined), videoGivenTo)
  return [...given].filter(([, owners]) => owners.length > 1).map(([id, owners]) => `${id}: ${owners.map((task) => task.id).join(' ')}`)
}

function videoGivenTo (task: AcceptedTask): string | undefined {
  return hasEnded(task) && task.last !== undefined ? videoOf(task.last) : undefined
}

export function countBy (names: string[]): Map<string, number> {
  return new Map([...Map.groupBy(names, (name) => name)].map(([name, alike]) => [name, alike.length]))
}
