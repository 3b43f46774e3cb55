import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Crowd } from './load-clients.ts'
import { tryEdges } from './edge-cases.ts'
import type { Instance } from './instance.ts'
import { Stage } from './environment.ts'
import { findLeaks, judge, type Course } from './verdict.ts'

/**
 * `deploy/nginx.conf` in the machine's nginx, three real instances behind it on one PostgreSQL, and the emulator in place
 * of Replicate. One instance is told to stop under load, another is killed; both come back. Exit code 0 where no request
 * failed but those that were on the killed one, no task was lost, none was made twice, and no file has a dream in it.
 * On 127.0.0.1 alone, ends by itself, leaves nothing behind.
 */
const clients = 6
const mostShown = 20
const longestMs = 100_000
/** A dead instance is noticed after 10 s. */
const longestTakeoverMs = 25_000

const startedAt = performance.now()
const over = new AbortController()
setMaxListeners(0, over.signal)
const alarm = setTimeout(() => over.abort(new Error('It takes too long')), longestMs)
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => over.abort(new Error(`Interrupted by ${name}`)))

const stage = await Stage.open()
let findings: string[] = []
try {
  findings = await play(stage)
} catch (error) {
  findings = [error instanceof Error ? error.stack ?? error.message : String(error)]
} finally {
  clearTimeout(alarm)
  await stage.clear(findings.length > 0)
}
for (const finding of findings.slice(0, mostShown)) console.log(`FAILED: ${finding}`)
if (findings.length > mostShown) console.log(`… and ${findings.length - mostShown} more`)
console.log(`${findings.length === 0 ? 'passed' : 'FAILED'} after ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
if (findings.length > 0) console.log(`The logs are in ${stage.folder}`)
process.exitCode = findings.length === 0 ? 0 : 1

async function play (stage: Stage): Promise<string[]> {
  const { nginx, instances } = await stage.start()
  const [first, second] = instances
  say('three instances and nginx are up')
  const crowd = new Crowd(nginx.url)
  const leaving = new AbortController()
  const asking = askForReadiness(nginx.url, leaving.signal)
  const dreaming = crowd.dream(clients, AbortSignal.any([leaving.signal, over.signal]))
  try {
    for (const instance of instances) await hasServed(instance)

    const exitCode = await first.end('SIGTERM')
    say(`told to stop: exit code ${exitCode}, ${crowd.failures.length} requests failed`)
    await first.start()
    await hasServed(first)

    const killedAt = Date.now()
    await second.end('SIGKILL')
    await delay(1_000)
    say(`killed: ${crowd.failures.length} requests failed`)
    await second.start()
    await hasServed(second)

    leaving.abort()
    await dreaming
    say(`no more dreams: ${crowd.open.length} of ${crowd.wishes.length} tasks are open`)
    await until(() => crowd.open.length === 0, longestTakeoverMs).catch(() => undefined)
    const course: Course = { crowd, exitCode, killedAt, killedPort: second.port }
    const findings = [...await judge(course, nginx, stage.replicate.emulator.predictions), ...await tryEdges(nginx)]
    return [...findings, ...await findLeaks(nginx)]
  } finally {
    leaving.abort()
    await Promise.all([crowd.leave(), asking])
  }

  /** Answers of its own, through nginx, from now on. */
  async function hasServed ({ port }: Instance): Promise<void> {
    const before = (await nginx.accessLines()).length
    await until(async () => (await nginx.accessLines()).slice(before).some(({ upstream }) => upstream.endsWith(`:${port}`)), 20_000)
  }
}

/** The health check of nginx in compose.yaml. */
async function askForReadiness (url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (let count = 0; count < 3; count++) await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    await delay(1_000, undefined, { signal }).catch(() => undefined)
  }
}

async function until (condition: () => boolean | Promise<boolean>, ms: number): Promise<void> {
  for (const giveUpAt = Date.now() + ms; !await condition(); await delay(100, undefined, { signal: over.signal })) {
    if (Date.now() > giveUpAt) throw new Error(`Waited in vain for ${condition}`)
  }
}

function say (what: string): void {
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(1)} s  ${what}`)
}
