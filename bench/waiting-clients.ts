import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Clients } from '../harness/status-clients.ts'
import { Completions, runningAt, type Running } from './webhook-sender.ts'
import type { ClientKind, Told } from '../harness/status-client-process.ts'
import type { MeasuredProcess } from './process.ts'
import { callsAt, percentile, post, serviceUrl, startEmulator, startService } from './setup.ts'

const many = 5_000
/** For the crowds, beside a task for each client. */
const spareTasks = 10
const hour = { ms: 3_600_000, seconds: '3600' }
const settleMs = 5_000
/** Every long poll comes back once in it, every stream has four signs of life. */
const windowMs = 60_000
/** What Replicate's limit of 600 predictions a minute comes to. */
const endsPerSecond = 10
const ends = 200

interface Stand { service: MeasuredProcess, completions: Completions, running: Running[] }

/**
 * 5,000 clients that wait well, half in long polls and half in streams, beside 5,000 that poll every 5 s, each side on a
 * service of its own that has just started. First each client has a task of its own and ten tasks a second end, then all
 * are on one task, the worst that can be: one webhook, and everybody is to be told at once. The predictions run at the
 * emulator for an hour, and the service does not look at them meanwhile: it is told of ends by the bench in Replicate's
 * place, and what it does is for the clients alone. Times are from right before the webhook is sent until the client has
 * the end; in brackets is the ratio to polling. Targets at 1,000 waiting: median 50 ms, 99th 250 ms, 30 kB for each.
 */
export async function measureClients () {
  const [needed, limit] = [many + 1_000, openFilesLimit()]
  if (limit < needed) throw new Error(`A process needs ${needed} open files, and \`ulimit -n\` allows ${limit}`)
  const polling = await onStand((stand) => measureApart('poll every 5 s', ['poll'], stand, 20_000))
  const waiting = await onStand(async (stand) => [
    await measureApart('wait', ['wait', 'events'], stand, windowMs),
    await measureCrowd(1_000, 7, stand),
    await measureCrowd(many, 3, stand)
  ])
  return [polling, ...waiting].map((figures) => present(figures, polling))
}

interface Figures { what: string, kilobytes?: number, cpu?: number, requests?: number, median: number, p99: number, last: number }

/** With the ratio to polling where both have the figure. */
function present ({ what, kilobytes, cpu, requests, ...times }: Figures, polling: Figures) {
  const beside = (value: number | undefined, unit: string, base: number | undefined) =>
    value === undefined || base === undefined ? '' : `${digits(value, 3)}${unit}${value === base ? '' : ` (${digits(value / base, 2)})`}`
  return {
    what,
    'memory for each': beside(kilobytes, ' kB', polling.kilobytes),
    'CPU of one core': beside(cpu, ' %', polling.cpu),
    'requests a second': beside(requests, '', polling.requests),
    'median until told': beside(times.median, ' ms', polling.median),
    '99th': beside(times.p99, ' ms', polling.p99),
    last: beside(times.last, ' ms', polling.last)
  }
}

function digits (value: number, significant: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: significant })
}

async function onStand<T> (measure: (stand: Stand) => Promise<T>): Promise<T> {
  const completions = new Completions()
  const emulator = await startEmulator(hour.ms, 0, { EMULATOR_ALLOW_HTTP_WEBHOOKS: 'on' })
  const service = await startService({
    REPLICATE_WEBHOOKS: 'on',
    REPLICATE_WEBHOOK_SECRET: completions.secret,
    PUBLIC_URL: serviceUrl(),
    MAX_IN_FLIGHT: String(many + spareTasks),
    REPLICATE_POLL_INTERVAL_MS: '600000',
    TASK_DEADLINE_SECONDS: hour.seconds
  })
  try {
    await post(service, many + spareTasks)
    while ((await callsAt(emulator)).create < many + spareTasks) await delay(100)
    await delay(settleMs)
    return await measure({ service, completions, running: await runningAt(emulator.url) })
  } finally {
    for (const process of [service, emulator]) await process.stop()
  }
}

/** Each client on a task of its own. */
async function measureApart (what: string, kinds: ClientKind[], { service, completions, running }: Stand, forMs: number): Promise<Figures> {
  const clients = new Clients()
  try {
    const atRest = service.residentMegabytes()
    await join(clients, kinds, service, running.slice(0, many))
    const cost = await costOf(service, clients, forMs)
    const kilobytes = (service.residentMegabytes() - atRest) * 1024 / many
    const sentAt = await reportInTurn(completions, running.splice(0, ends))
    const told = await clients.told(ends)
    return { what: `${many} ${what}, each its own task`, kilobytes, ...cost, ...timesOf(told, sentAt) }
  } finally {
    await clients.stop()
  }
}

/** All clients on one task, a new one in each round. */
async function measureCrowd (size: number, rounds: number, { service, completions, running }: Stand): Promise<Figures> {
  const sentAt = new Map<string, number>()
  const clients = new Clients()
  try {
    for (const task of running.splice(0, rounds)) {
      await join(clients, ['wait', 'events'], service, Array.from({ length: size }, () => task))
      await delay(1_000)
      sentAt.set(task.taskId, await completions.report(task))
      await clients.told(size * sentAt.size)
    }
    const told = await clients.told(size * rounds)
    return { what: `${size} wait, all for one task`, ...timesOf(told, sentAt) }
  } finally {
    await clients.stop()
  }
}

/** As many of each kind, in alternation. */
async function join (clients: Clients, kinds: ClientKind[], { url }: MeasuredProcess, tasks: Running[]): Promise<void> {
  for (const [turn, kind] of kinds.entries()) {
    const taskIds = tasks.filter((_, place) => place % kinds.length === turn).map(({ taskId }) => taskId)
    await clients.open({ kind, url, taskIds })
  }
}

async function costOf (service: MeasuredProcess, clients: Clients, forMs: number) {
  await delay(settleMs)
  const before = { answers: (await clients.report()).answers, cpuMs: service.cpuMs() }
  await delay(forMs)
  const { answers } = await clients.report()
  return { cpu: 100 * (service.cpuMs() - before.cpuMs) / forMs, requests: (answers - before.answers) * 1_000 / forMs }
}

async function reportInTurn (completions: Completions, tasks: Running[]): Promise<Map<string, number>> {
  const sentAt = new Map<string, number>()
  for (const task of tasks) {
    sentAt.set(task.taskId, await completions.report(task))
    await delay(1_000 / endsPerSecond)
  }
  return sentAt
}

function timesOf (told: Told[], sentAt: Map<string, number>) {
  const times = told.map(({ taskId, at }) => at - (sentAt.get(taskId) ?? Number.NaN))
  return { median: percentile(times, 0.5), p99: percentile(times, 0.99), last: percentile(times, 1) }
}

/** Node raises the soft limit to the hard one for itself. */
function openFilesLimit (): number {
  return Number(/^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity)
}
