import type { AcceptedTask, Observations } from './observations.ts'
import { describeAccount, reconcile, type Account, type PaidPrediction } from './paid-in-vain.ts'
import type { TaskEnd } from './task-ends.ts'

/** Something that must not happen, and the tasks or predictions that it happened to. */
export interface Finding { what: string, affected: string[] }

export interface Verdict {
  accepted: number
  creates: number
  predictions: number
  /** of these, by other clients of the account */
  foreign: number
  /** tasks by status and error code */
  ends: Map<string, number>
  /** predictions of the service that were not used, and without a cancelled task as the reason */
  inVain: number
  findings: Finding[]
}

export interface Evidence {
  observations: Observations
  /** Of every task of the service, also of those whose id no client has received. */
  ends: TaskEnd[]
  predictions: PaidPrediction[]
  /** Whether a prediction that was paid for and not used is a finding. */
  mustBeUsed: boolean
}

/** Compares what the clients saw with the predictions of the emulator, once everything has ended. */
export function reachVerdict ({ observations, ends, predictions, mustBeUsed }: Evidence): Verdict {
  const tasks = [...observations.tasks.values()]
  const byKey = Map.groupBy(predictions, ({ key }) => key)
  const accounts = reconcile(ends, predictions)
  return {
    accepted: tasks.length,
    creates: [...observations.creates.values()].reduce((sum, count) => sum + count, 0),
    predictions: predictions.length,
    foreign: predictions.filter(({ isForeign }) => isForeign).length,
    ends: countBy(tasks.map(describeEnd)),
    inVain: accounts.reduce((sum, { inVain }) => sum + inVain, 0),
    findings: [
      { what: 'task lost', affected: tasks.filter(({ isLost }) => isLost).map(({ id }) => id) },
      { what: 'task without an end', affected: observations.open.map(({ id }) => id) },
      { what: 'dream with more predictions than creates', affected: madeTwice(observations, byKey) },
      { what: 'task with a forbidden change', affected: tasks.flatMap(({ id, violations }) => violations.map((violation) => `${id} ${violation}`)) },
      { what: 'task with the video of another dream', affected: ends.filter((end) => hasVideoOfAnotherDream(end, byKey)).map(({ id }) => id) },
      { what: 'video given to several tasks', affected: sharedVideos(ends) },
      { what: 'unexpected answer', affected: [...observations.unexpectedAnswers].map(([answer, count]) => `${answer}: ${count} times`) },
      ...(mustBeUsed ? unusedFindings(accounts) : [])
    ]
  }
}

function describeEnd ({ last }: AcceptedTask): string {
  return [last?.status ?? 'never seen', last?.error_code].filter(Boolean).join(' ')
}

/** Each create of a dream may cost one prediction. A create whose answer no client has read may have made a task, too. */
function madeTwice ({ creates }: Observations, byKey: Map<string, PaidPrediction[]>): string[] {
  return [...byKey]
    .map(([key, predictions]) => [key, predictions.filter(({ isForeign }) => !isForeign)] as const)
    .filter(([key, predictions]) => predictions.length > (creates.get(key) ?? 0))
    .map(([key, predictions]) => `${key}: ${creates.get(key) ?? 0} creates, predictions ${predictions.map(({ id }) => id).join(' ')}`)
}

function unusedFindings (accounts: Account[]): Finding[] {
  return [
    {
      what: 'dream with a prediction paid in vain',
      affected: accounts.filter(({ inVain }) => inVain > 0)
        .map((account) => withLines(`${account.key}: ${account.inVain} of the predictions ${account.unused.map(({ id }) => id).join(' ')}`, account))
    },
    {
      what: 'dream with a task that failed without a reason',
      affected: accounts.filter(({ failedForNothing }) => failedForNothing > 0)
        .map((account) => withLines(`${account.key}: ${account.failedForNothing} tasks`, account))
    }
  ]
}

function withLines (title: string, account: Account): string {
  return [title, ...describeAccount(account).map((line) => `    ${line}`)].join('\n')
}

/** Tasks of the same dream may have exchanged their predictions; the prediction of any other dream is wrong. */
function hasVideoOfAnotherDream ({ key, given }: TaskEnd, byKey: Map<string, PaidPrediction[]>): boolean {
  return given !== undefined && byKey.get(key)?.some(({ id }) => id === given) !== true
}

function sharedVideos (ends: TaskEnd[]): string[] {
  const byVideo = Map.groupBy(ends.filter(({ given }) => given !== undefined), ({ given }) => given)
  return [...byVideo].filter(([, owners]) => owners.length > 1).map(([id, owners]) => `${id}: ${owners.map((end) => end.id).join(' ')}`)
}

function countBy (names: string[]): Map<string, number> {
  return new Map([...Map.groupBy(names, (name) => name)].map(([name, alike]) => [name, alike.length]))
}
