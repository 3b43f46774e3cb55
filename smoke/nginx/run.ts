import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { pause, until } from '../../harness/until.ts'
import { checkEdgeCases } from './edge-cases.ts'
import { Environment } from './environment.ts'
import { checkForwarding } from './forwarding.ts'
import type { Instance } from './instance.ts'
import { LoadClients } from './load-clients.ts'
import { findLeaks, judge } from './verdict.ts'
import { checkVideoDelivery } from './video-delivery.ts'

/**
 * Runs `deploy/nginx.conf` in the machine's nginx, with three real instances behind it on one PostgreSQL, and the emulator
 * instead of Replicate. Under load, one instance is stopped and another one is killed; both are started again. The exit code
 * is 0 only if no request failed except those on the killed instance, no task was lost or generated twice, a video is the same
 * from each instance and through nginx, and no file of nginx contains a dream. Everything is on 127.0.0.1. The run ends by itself and leaves nothing behind.
 */
const clientCount = 6
const maxPrinted = 20
const maxRunMs = 100_000
/** A dead instance is noticed after 10 s. */
const maxTakeoverMs = 25_000

const startedAt = performance.now()
const over = new AbortController()
setMaxListeners(0, over.signal)
const timer = setTimeout(() => over.abort(new Error(`The run takes longer than ${maxRunMs / 1_000} s`)), maxRunMs)
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => over.abort(new Error(`Interrupted by ${name}`)))

const environment = await Environment.create()
let findings: string[] = []
try {
  findings = await run(environment)
} catch (error) {
  findings = [error instanceof Error ? error.stack ?? error.message : String(error)]
} finally {
  clearTimeout(timer)
  await environment.clear(findings.length > 0)
}
for (const finding of findings.slice(0, maxPrinted)) console.log(`FAILED: ${finding}`)
if (findings.length > maxPrinted) console.log(`… and ${findings.length - maxPrinted} more`)
console.log(`${findings.length === 0 ? 'passed' : 'FAILED'} after ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
if (findings.length > 0) console.log(`The logs are in ${environment.folder}`)
process.exitCode = findings.length === 0 ? 0 : 1

async function run (environment: Environment): Promise<string[]> {
  const { emulator, nginx, instances } = await environment.start()
  const [first, second] = instances
  print('three instances and nginx are ready')
  const clients = new LoadClients(nginx.url)
  const leaving = new AbortController()
  const checking = checkReadiness(nginx.url, leaving.signal)
  const creating = clients.createTasks(clientCount, AbortSignal.any([leaving.signal, over.signal]))
  try {
    for (const instance of instances) await hasServed(instance)

    const stopped = await first.end('SIGTERM')
    print(`an instance was stopped: exit code ${stopped?.code}, ${clients.failures.length} requests failed`)
    await first.start()
    await hasServed(first)

    const killedAt = Date.now()
    await second.end('SIGKILL')
    await delay(1_000)
    print(`an instance was killed: ${clients.failures.length} requests failed`)
    await second.start()
    await hasServed(second)

    leaving.abort()
    await creating
    print(`no more creates: ${clients.open.length} of ${clients.tasks.length} tasks are open`)
    await until(() => clients.open.length === 0, 'all tasks to end', { timeoutMs: maxTakeoverMs, signal: over.signal }).catch(() => undefined)
    const record = { clients, stopCode: stopped?.code, killedAt, killedPort: second.port }
    return [
      ...await judge(record, nginx, emulator.predictions),
      ...await checkEdgeCases(nginx),
      ...await checkForwarding(nginx, instances),
      ...await checkVideoDelivery(clients, nginx, instances, emulator.predictions),
      ...await findLeaks(nginx)
    ]
  } finally {
    leaving.abort()
    await Promise.all([clients.close(), checking])
  }

  /** Waits until nginx has passed a request to this instance from now on. */
  async function hasServed ({ port }: Instance): Promise<void> {
    const before = (await nginx.accessLines()).length
    await until(
      async () => (await nginx.accessLines()).slice(before).some(({ upstream }) => upstream.endsWith(`:${port}`)),
      `instance ${port} to serve`, { timeoutMs: 20_000, intervalMs: 100, signal: over.signal }
    )
  }
}

/** Does what the health check of nginx in compose.yaml does. */
async function checkReadiness (url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (let count = 0; count < 3; count++) await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    await pause(1_000, signal)
  }
}

function print (what: string): void {
  console.log(`${((performance.now() - startedAt) / 1000).toFixed(1)} s  ${what}`)
}
