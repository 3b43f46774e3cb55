import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { judgeCallbacks, untold } from './callback-verdict.ts'
import type { Dreamers } from './load-clients.ts'
import type { AcceptedTask } from './observations.ts'
import { madeBy } from './paid-in-vain.ts'
import { readPlan, type Plan } from './plan.ts'
import { printFindings, printReport } from './report.ts'
import { setStage, type Stage } from './environment.ts'
import type { TaskView } from '../services/tasks/task-view.ts'
import { reachVerdict } from './verdict.ts'

/**
 * Proves that nothing is lost, nothing is paid for twice, and nobody is forgotten who wants to be called back: real
 * processes of the service that are killed, frozen and out of disk, or many on a PostgreSQL that goes and comes back, in
 * front of an emulator that fails in every way, and clients that write down what they are told.
 * Exit code 0 where all that must be none is none. Bounded, on 127.0.0.1 alone, and nothing is left behind.
 */
const lastDreamsMs = 2_000
const longestStartMs = 30_000
const marginMs = 10_000
const lastLooks = 5

const interrupted = new AbortController()
setMaxListeners(0, interrupted.signal)
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupted.abort(new Error(`Interrupted by ${name}`)))

const startedAt = performance.now()
const plan = planOfArguments()
console.log(`seed ${plan.seed}, ${plan.stormMs / 1000} s of storm, every task has ${plan.deadlineSeconds} s, with ${[...plan.extras].join(',') || 'no extras'}`)
const stage = await setStage(plan)
// Whatever nobody caught: no process of the service outlives this one.
process.on('exit', () => { stage.lives.destroy() })
let outcome: 'passed' | 'FAILED' | 'interrupted' = 'FAILED'
try {
  await storm(stage, plan, interrupted.signal)
  if (await judge(stage, plan, interrupted.signal)) outcome = 'passed'
} catch (error) {
  if (interrupted.signal.aborted) outcome = 'interrupted'
  else console.error(error)
} finally {
  await stage.clear(outcome === 'FAILED')
}
console.log(`\n${outcome} with seed ${plan.seed} after ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
if (outcome === 'FAILED') console.log(`The service's data and its log, with the troubles between its lines, are in ${stage.folder}`)
process.exitCode = outcome === 'passed' ? 0 : 1

function planOfArguments (): Plan {
  try {
    return readPlan(process.argv.slice(2))
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exit(2)
  }
}

/** Everything at once, then calm: no faults, a free disk, processes that live, until every task has ended and is told of, or should be. */
async function storm ({ lives, weather, dreamers, receiver, ledger }: Stage, { stormMs, deadlineSeconds, longestCallbackMs }: Plan, stop: AbortSignal): Promise<void> {
  const until = (ms: number) => bounded(stop, ms)
  const over = new AbortController()
  const watching = dreamers.watch(over.signal)
  try {
    await Promise.all([
      lives.live(until(stormMs)), weather.blow(until(stormMs)), dreamers.post(until(stormMs - lastDreamsMs))
    ])
    stop.throwIfAborted()
    receiver.calm()
    await lives.startAnew(until(longestStartMs))
    await waitWhile(() => ledger.open.length > 0 && !lives.isDead, deadlineSeconds * 1000 + marginMs, stop)
    await waitWhile(async () => !lives.isDead && (await dreamers.listAll())?.every(hasTaskEnded) !== true, deadlineSeconds * 1000, stop)
    await waitWhile(() => untold(ledger, receiver.callbacks).length > 0 && !lives.isDead, longestCallbackMs, stop)
  } finally {
    over.abort()
    await watching
  }
}

/** At most so many ms. */
async function waitWhile (isSo: () => boolean | Promise<boolean>, ms: number, stop: AbortSignal): Promise<void> {
  const giveUpAt = Date.now() + ms
  while (await isSo() && Date.now() < giveUpAt) await delay(100, undefined, { signal: stop })
}

async function judge ({ lives, weather, dreamers, receiver, ledger, emulator, cancelled }: Stage, { extras }: Plan, stop: AbortSignal): Promise<boolean> {
  const isSeen = await lookAtAll([...ledger.tasks.values()], dreamers, stop)
  const allTasks = await dreamers.listAll()
  const deaths = await lives.stop()
  const verdict = reachVerdict({ ledger, allTasks: allTasks ?? [], made: madeBy(emulator, cancelled), mustBeUsed: extras.has('paid-in-vain') })
  verdict.findings.push(
    ...judgeCallbacks(ledger, receiver.callbacks),
    { what: 'processes that died by themselves', affected: lives.crashes.map((crash) => JSON.stringify(crash)) },
    { what: 'processes that did not stop in peace', affected: deaths.filter(({ code }) => code !== 0).map((death) => JSON.stringify(death)) },
    { what: 'services silent in the end', affected: isSeen && allTasks !== undefined ? [] : [JSON.stringify(deaths)] },
    { what: 'things that were not tried', affected: untried(verdict.accepted, lives.kills, receiver.callbacks.length) }
  )
  printReport(verdict, lives, weather, receiver)
  printFindings(verdict)
  return verdict.findings.every(({ affected }) => affected.length === 0)
}

/** @returns false where the service does not answer any more; what was seen last counts then */
async function lookAtAll (tasks: AcceptedTask[], dreamers: Dreamers, stop: AbortSignal): Promise<boolean> {
  for (const task of tasks) {
    for (let look = 1; !await dreamers.look(task); look++) {
      if (look === lastLooks) return false
      await delay(200, undefined, { signal: stop })
    }
  }
  return true
}

function hasTaskEnded ({ status }: TaskView): boolean {
  return status === 'completed' || status === 'failed'
}

/** A run that did nothing proves nothing. */
function untried (accepted: number, kills: number, callbacks: number): string[] {
  return [
    accepted === 0 && 'no task was accepted', kills === 0 && 'no kill struck', callbacks === 0 && 'no callback was made'
  ].filter((what) => what !== false)
}

function bounded (stop: AbortSignal, ms: number): AbortSignal {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(ms)])
  setMaxListeners(0, signal)
  return signal
}
