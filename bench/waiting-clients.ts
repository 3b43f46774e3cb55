import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { ClientKind, Notification } from '../harness/status-client-process.ts'
import { StatusClients } from '../harness/status-clients.ts'
import { creates, percentile, post, serviceUrl, startEmulator, startService, type MeasuredProcess } from './setup.ts'
import { runningPredictions, WebhookSender, type RunningPrediction } from './webhook-sender.ts'

const clientCount = 5_000
/** Tasks that many clients share, besides a task for each client. */
const sharedTasks = 10
const hour = { ms: 3_600_000, seconds: '3600' }
const quietMs = 5_000
/** Every long poll is answered once in this time, and every stream sends four comments. */
const windowMs = 60_000
/** Replicate's limit of 600 predictions a minute. */
const endsPerSecond = 10
const ends = 200

interface Setup { service: MeasuredProcess, webhooks: WebhookSender, running: RunningPrediction[] }

/**
 * 5,000 clients that wait as recommended, half of them with long polls and half with streams, compared with 5,000 that poll
 * every 5 s. Each side has a service of its own that has just started. First each client has a task of its own, and ten tasks
 * a second end. Then all clients wait for the same task, which is the worst case: one webhook, and all are to be notified at
 * once. The predictions run at the emulator for an hour, and the service does not read them in the meantime: this program
 * sends the webhooks, so that the service works for the clients only. Times are from right before the webhook is sent until
 * the client has the end; the ratio to polling is in brackets. Targets with 1,000 waiting clients: median 50 ms, 99th
 * percentile 250 ms, 30 kB for each.
 */
export async function measureClients () {
  const [needed, limit] = [clientCount + 1_000, openFilesLimit()]
  if (limit < needed) throw new Error(`A process needs ${needed} open files, and \`ulimit -n\` allows ${limit}`)
  const polling = await withSetup((setup) => measureSeparateTasks('poll every 5 s', ['poll'], setup, 20_000))
  const waiting = await withSetup(async (setup) => [
    await measureSeparateTasks('wait', ['wait', 'events'], setup, windowMs),
    await measureSharedTask(1_000, 7, setup),
    await measureSharedTask(clientCount, 3, setup)
  ])
  return [polling, ...waiting].map((figures) => present(figures, polling))
}

interface Figures { what: string, kilobytes?: number, cpu?: number, requests?: number, median: number, p99: number, last: number }

/** With the ratio to polling where both have the figure. */
function present ({ what, kilobytes, cpu, requests, ...times }: Figures, polling: Figures) {
  const compared = (value: number | undefined, unit: string, base: number | undefined) =>
    value === undefined || base === undefined ? '' : `${digits(value, 3)}${unit}${value === base ? '' : ` (${digits(value / base, 2)})`}`
  return {
    what,
    'memory for each': compared(kilobytes, ' kB', polling.kilobytes),
    'CPU of one core': compared(cpu, ' %', polling.cpu),
    'requests a second': compared(requests, '', polling.requests),
    'median until notified': compared(times.median, ' ms', polling.median),
    '99th': compared(times.p99, ' ms', polling.p99),
    last: compared(times.last, ' ms', polling.last)
  }
}

function digits (value: number, significant: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: significant })
}

async function withSetup<T> (measure: (setup: Setup) => Promise<T>): Promise<T> {
  const webhooks = new WebhookSender()
  const emulator = await startEmulator(hour.ms, 0, { EMULATOR_ALLOW_HTTP_WEBHOOKS: 'on' })
  const service = await startService({
    REPLICATE_WEBHOOKS: 'on',
    REPLICATE_WEBHOOK_SECRET: webhooks.secret,
    PUBLIC_URL: serviceUrl(),
    MAX_IN_FLIGHT: String(clientCount + sharedTasks),
    REPLICATE_POLL_INTERVAL_MS: '600000',
    TASK_DEADLINE_SECONDS: hour.seconds
  })
  try {
    await post(service, clientCount + sharedTasks)
    await creates(emulator, clientCount + sharedTasks)
    await delay(quietMs)
    return await measure({ service, webhooks, running: await runningPredictions(emulator.url) })
  } finally {
    for (const process of [service, emulator]) await process.stop()
  }
}

/** Each client waits for a task of its own. */
async function measureSeparateTasks (what: string, kinds: ClientKind[], { service, webhooks, running }: Setup, forMs: number): Promise<Figures> {
  const clients = new StatusClients()
  try {
    const before = service.process.residentMegabytes()
    await openClients(clients, kinds, service, running.slice(0, clientCount))
    const cost = await measureCost(service, clients, forMs)
    const kilobytes = (service.process.residentMegabytes() - before) * 1024 / clientCount
    const sentAt = await completeInTurn(webhooks, running.splice(0, ends))
    const notifications = await clients.notified(ends)
    return { what: `${clientCount} ${what}, each its own task`, kilobytes, ...cost, ...times(notifications, sentAt) }
  } finally {
    await clients.stop()
  }
}

/** All clients wait for one task, a new one in each round. */
async function measureSharedTask (size: number, rounds: number, { service, webhooks, running }: Setup): Promise<Figures> {
  const sentAt = new Map<string, number>()
  const clients = new StatusClients()
  try {
    for (const task of running.splice(0, rounds)) {
      await openClients(clients, ['wait', 'events'], service, Array.from({ length: size }, () => task))
      await delay(1_000)
      sentAt.set(task.taskId, await webhooks.end(task))
      await clients.notified(size * sentAt.size)
    }
    const notifications = await clients.notified(size * rounds)
    return { what: `${size} wait, all for one task`, ...times(notifications, sentAt) }
  } finally {
    await clients.stop()
  }
}

/** The same number of each kind, in alternation. */
async function openClients (clients: StatusClients, kinds: ClientKind[], { url }: MeasuredProcess, tasks: RunningPrediction[]): Promise<void> {
  for (const [turn, kind] of kinds.entries()) {
    const taskIds = tasks.filter((_, index) => index % kinds.length === turn).map(({ taskId }) => taskId)
    await clients.open({ kind, url, taskIds })
  }
}

async function measureCost ({ process }: MeasuredProcess, clients: StatusClients, forMs: number) {
  await delay(quietMs)
  const before = { answers: (await clients.report()).answers, cpuMs: process.cpuMs() }
  await delay(forMs)
  const { answers } = await clients.report()
  return { cpu: 100 * (process.cpuMs() - before.cpuMs) / forMs, requests: (answers - before.answers) * 1_000 / forMs }
}

async function completeInTurn (webhooks: WebhookSender, tasks: RunningPrediction[]): Promise<Map<string, number>> {
  const sentAt = new Map<string, number>()
  for (const task of tasks) {
    sentAt.set(task.taskId, await webhooks.end(task))
    await delay(1_000 / endsPerSecond)
  }
  return sentAt
}

function times (notifications: Notification[], sentAt: Map<string, number>) {
  const durations = notifications.map(({ taskId, at }) => at - (sentAt.get(taskId) ?? Number.NaN))
  return { median: percentile(durations, 0.5), p99: percentile(durations, 0.99), last: percentile(durations, 1) }
}

/** Node raises the soft limit to the hard one for itself. */
function openFilesLimit (): number {
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity)
}
