import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Emulator } from '../replicate-emulator/emulator.ts'
import type { TaskView } from '../services/tasks/task-view.ts'
import { judgeCallbacks, undelivered } from './callback-verdict.ts'
import { createEnvironment, type Environment } from './environment.ts'
import type { LoadClients } from './load-clients.ts'
import type { AcceptedTask } from './observations.ts'
import { describePredictions } from './paid-in-vain.ts'
import { readPlan, type Plan } from './plan.ts'
import { printFindings, printReport } from './report.ts'
import { readPosters, readVideos } from './served-files.ts'
import { settleArchive, type ArchiveState } from './settled-archive.ts'
import { describeEnds } from './task-ends.ts'
import { reachVerdict } from './verdict.ts'
import { judgeVideos } from './video-verdict.ts'

/**
 * Shows that no task is lost, nothing is paid for twice, every callback is delivered, and every video stays. Real processes of the
 * service are killed, frozen and deprived of disk space, or several of them share a PostgreSQL that restarts and crashes. The
 * emulator of Replicate fails in every way, the S3 server too, and clients record what they receive. The exit code is 0 only if there are no findings. The
 * run is bounded, uses 127.0.0.1 only, and leaves nothing behind.
 */
/** The time without creates at the end of the faults. */
const withoutCreatesMs = 2_000
const startTimeoutMs = 30_000
const marginMs = 10_000
const maxLastPolls = 5

const interrupted = new AbortController()
setMaxListeners(0, interrupted.signal)
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupted.abort(new Error(`Interrupted by ${name}`)))

const startedAt = performance.now()
const plan = readArguments()
console.log(`seed ${plan.seed}, ${plan.faultPhaseMs / 1000} s of faults, a deadline of ${plan.deadlineSeconds} s, with ${[...plan.extras].join(',') || 'no extras'}`)
const environment = await createEnvironment(plan)
// Also after an uncaught error, no process of the service outlives this one.
process.on('exit', () => { environment.supervisor.killAll() })
let outcome: 'passed' | 'FAILED' | 'interrupted' = 'FAILED'
try {
  const archiveState = await run(environment, plan, interrupted.signal)
  if (await judge(environment, plan, archiveState, interrupted.signal)) outcome = 'passed'
} catch (error) {
  if (interrupted.signal.aborted) outcome = 'interrupted'
  else console.error(error)
} finally {
  await environment.clear(outcome === 'FAILED')
}
console.log(`\n${outcome} with seed ${plan.seed} after ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
if (outcome === 'FAILED') console.log(`The data of the service and its log, with the faults between its lines, are in ${environment.folder}`)
process.exitCode = outcome === 'passed' ? 0 : 1

function readArguments (): Plan {
  try {
    return readPlan(process.argv.slice(2))
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(2)
  }
}

/**
 * First the fault phase: creates, faults of the processes and faults of Replicate at once. Then the recovery: the service
 * runs without faults until every task has ended, every callback is delivered, and the archive has the videos and nothing else, or
 * until this should be so.
 */
async function run (
  { supervisor, faultSchedule, fileFaults, archive, clients, receiver, observations, urls }: Environment,
  { faultPhaseMs, deadlineSeconds, maxCallbackMs, maxSettleMs, isCluster }: Plan,
  stop: AbortSignal
): Promise<ArchiveState | undefined> {
  const within = (ms: number) => bounded(stop, ms)
  const over = new AbortController()
  const polling = clients.pollTasks(over.signal)
  try {
    await Promise.all([
      supervisor.injectFaults(within(faultPhaseMs)),
      faultSchedule.run(within(faultPhaseMs)),
      fileFaults.run(within(faultPhaseMs)),
      archive.injectFaults(within(faultPhaseMs)),
      clients.createTasks(within(faultPhaseMs - withoutCreatesMs))
    ])
    stop.throwIfAborted()
    receiver.acceptAll()
    // Few kills leave one, and without any the run would not show that the sweep works.
    await archive.plantOrphan()
    await supervisor.startWithoutFaults(within(startTimeoutMs))
    await waitWhile(() => observations.open.length > 0 && !supervisor.hasDied, deadlineSeconds * 1000 + marginMs, stop)
    await waitWhile(async () => !supervisor.hasDied && (await clients.listTasks())?.every(hasTaskEnded) !== true, deadlineSeconds * 1000, stop)
    await waitWhile(() => undelivered(observations, receiver.callbacks).length > 0 && !supervisor.hasDied, maxCallbackMs, stop)
    return await settleArchive({ archive, withoutUnfinished: !isCluster, urls, listTasks: () => clients.listTasks(), maxMs: maxSettleMs, stop })
  } finally {
    over.abort()
    await polling
  }
}

/** Waits until the condition no longer holds, or until `maxMs` have passed: the verdict says what is missing then. */
async function waitWhile (condition: () => boolean | Promise<boolean>, maxMs: number, stop: AbortSignal): Promise<void> {
  const deadline = Date.now() + maxMs
  while (await condition() && Date.now() < deadline) await delay(100, undefined, { signal: stop })
}

async function judge (
  { supervisor, faultSchedule, fileFaults, archive, clients, receiver, observations, emulator, cancelled, urls }: Environment,
  { extras }: Plan,
  archiveState: ArchiveState | undefined,
  stop: AbortSignal
): Promise<boolean> {
  const answersPolls = await pollAll([...observations.tasks.values()], clients, stop)
  const { tasks, files, unfinished } = archiveState ?? { tasks: [], files: [], unfinished: [] }
  const predictions = describePredictions(emulator, cancelled)
  // What is served from now on comes from the archive.
  emulator.wipe()
  const [videos, posters] = [await readVideos(tasks, urls), await readPosters(tasks, urls)]
  const processEnds = await supervisor.stop()
  const ends = describeEnds(tasks, videos, await digestVideos(emulator))
  const verdict = reachVerdict({ observations, ends, predictions, mustBeUsed: extras.has('paid-in-vain') })
  verdict.findings.push(
    ...judgeVideos({ tasks, ends, videos, posters, predictions, files, unfinished }),
    ...judgeCallbacks(observations, receiver.callbacks),
    { what: 'process ended by itself', affected: supervisor.crashes.map((crash) => JSON.stringify(crash)) },
    { what: 'process failed when it was stopped', affected: processEnds.filter(({ code }) => code !== 0).map((end) => JSON.stringify(end)) },
    { what: 'service without an answer at the end', affected: answersPolls && archiveState !== undefined ? [] : [JSON.stringify(processEnds)] },
    { what: 'part of the run that did not take place', affected: missingParts(verdict.accepted, supervisor.kills, receiver.callbacks.length, ends.filter(({ given }) => given !== undefined).length) }
  )
  printReport({ verdict, supervisor, faultSchedule, fileFaults, archive, receiver, ends, posters })
  printFindings(verdict)
  return verdict.findings.every(({ affected }) => affected.length === 0)
}

/** @returns false if the service does not answer any more; the last status that was seen counts then */
async function pollAll (tasks: AcceptedTask[], clients: LoadClients, stop: AbortSignal): Promise<boolean> {
  for (const task of tasks) {
    for (let poll = 1; !await clients.poll(task); poll++) {
      if (poll === maxLastPolls) return false
      await delay(200, undefined, { signal: stop })
    }
  }
  return true
}

function hasTaskEnded ({ status }: TaskView): boolean {
  return status === 'completed' || status === 'failed'
}

/** The id of each prediction by the SHA-256 of its file. */
async function digestVideos ({ log, files }: Emulator): Promise<Map<string, string>> {
  const digests = new Map<string, string>()
  for (const prediction of log.all) digests.set((await files.digest(prediction, 'video')).sha256, prediction.id)
  return digests
}

/** A run without tasks, kills, callbacks or videos proves nothing. */
function missingParts (accepted: number, kills: number, callbacks: number, videos: number): string[] {
  return [
    accepted === 0 && 'no task was accepted',
    kills === 0 && 'no process was killed',
    callbacks === 0 && 'no callback was received',
    videos === 0 && 'no video was served'
  ].filter((what) => what !== false)
}

function bounded (stop: AbortSignal, ms: number): AbortSignal {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(ms)])
  setMaxListeners(0, signal)
  return signal
}
