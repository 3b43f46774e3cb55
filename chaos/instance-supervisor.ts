import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { pause } from '../harness/until.ts'
import { freezePoints, killPoints, type CrashTrigger } from './crash-points.ts'
import type { InstanceClock } from './instance-clock.ts'
import { InstanceProcess, type InstanceEnd } from './instance-process.ts'
import type { Plan, ProcessFault, Span } from './plan.ts'
import type { ProcessSupervisor } from './process-supervisor.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface InstanceSupervisorOptions {
  url: string
  random: SeededRandom
  /** gets what the processes print */
  log: Writable
  /** writes an event into the same log */
  logEvent: (event: string) => void
  /** the environment of the next process: half of them are configured in another way */
  nextEnv: () => Record<string, string>
  plan: Pick<Plan, 'runDuration' | 'freezeDuration' | 'restartDelay'>
  /** the next faults in their order; called again after the last of them */
  nextFaults: () => ProcessFault[]
  /** the clock of the processes, and how far it may step from the true time (ms); without it they have the machine's clock */
  clock?: { instance: InstanceClock, maxOffsetMs: Span } | undefined
  /** whether a process that was started at that time (ms since the epoch) may have ended because it needed something unavailable */
  mayFailToStart: (startedAt: number) => boolean
}

const crashPointTimeoutMs = 4_000
const graceMs = 30_000
/** A process that was frozen has had an answer of Replicate again after this time. */
const thawingMs = 2_000
const startRetryMs = 500

/** Runs one process after another on the same data, each with one fault. */
export class InstanceSupervisor implements ProcessSupervisor {
  readonly counts = new Map<string, number>()
  readonly crashes: InstanceEnd[] = []
  readonly #options: InstanceSupervisorOptions
  #current: InstanceProcess | undefined
  /** ms since the epoch; no process starts before. */
  #downUntil = 0
  /** ms since the epoch; infinite while the process is frozen. */
  #frozenUntil = 0

  constructor (options: InstanceSupervisorOptions) {
    this.#options = options
    for (const point of killPoints) this.counts.set(`kill ${point}`, 0)
    for (const point of freezePoints) this.counts.set(point, 0)
  }

  get kills (): number {
    return [...this.counts].reduce((sum, [name, count]) => name.startsWith('kill') ? sum + count : sum, 0)
  }

  get isFrozen (): boolean {
    return Date.now() < this.#frozenUntil
  }

  get hasDied (): boolean {
    return this.#current?.hasEnded ?? true
  }

  async injectFaults (signal: AbortSignal): Promise<void> {
    const { random, plan, nextFaults } = this.#options
    for (let faults: ProcessFault[] = []; !signal.aborted;) {
      if (faults.length === 0) faults = nextFaults()
      const fault = faults.pop()
      if (fault === undefined) continue
      const end = await this.#runWith(fault, signal)
      // Other faults kept the process from reaching its crash point: another process tries it again later.
      if (fault.kind === 'killed at a crash point' && end.by !== 'crash point') faults.unshift(fault)
      await this.#stayDown(random.between(...plan.restartDelay), signal)
    }
  }

  async startWithoutFaults (signal: AbortSignal): Promise<void> {
    const instance = this.#start()
    await instance.started(`${this.#options.url}/readyz`, signal)
    if (instance.hasEnded) throw new Error('The service does not start; its log says why')
  }

  /** Kills the process, whatever its state; the next one does not start before `ms` have passed. */
  async takeDown (ms: number): Promise<void> {
    this.#downUntil = Date.now() + ms
    await this.#current?.kill()
  }

  async stop (): Promise<InstanceEnd[]> {
    return this.#current === undefined ? [] : [await this.#current.stop(graceMs)]
  }

  async killAll (): Promise<void> {
    await this.#current?.kill()
  }

  #start (trigger?: CrashTrigger): InstanceProcess {
    const { nextEnv, clock, log } = this.#options
    this.#current = new InstanceProcess({ env: { ...nextEnv(), ...clock?.instance.env }, trigger, log })
    return this.#current
  }

  async #stayDown (ms: number, signal: AbortSignal): Promise<void> {
    this.#downUntil = Math.max(this.#downUntil, Date.now() + ms)
    for (let left = ms; left > 0 && !signal.aborted; left = this.#downUntil - Date.now()) await pause(left, signal)
  }

  async #runWith (fault: ProcessFault, signal: AbortSignal): Promise<InstanceEnd> {
    const { logEvent } = this.#options
    const startedAt = Date.now()
    const instance = this.#start(this.#trigger(fault))
    logEvent(`process ${instance.pid} starts, fault: ${Object.values(fault).join(' ')}`)
    // The end of the process also ends the fault.
    const over = new AbortController()
    const isOver = AbortSignal.any([signal, over.signal])
    await Promise.race([instance.ended, this.#inject(fault, instance, isOver)]).catch((error: unknown) => {
      if (!isOver.aborted) throw error
    })
    over.abort()
    const end = await instance.kill()
    logEvent(`process ${instance.pid} ended: ${JSON.stringify(end)}`)
    await this.#record(fault, end, instance.hasStarted ? undefined : startedAt, signal)
    return end
  }

  async #record (fault: ProcessFault, end: InstanceEnd, failedStartAt: number | undefined, signal: AbortSignal): Promise<void> {
    if (end.by === 'kill') return this.#count('kill at random')
    if (end.by === 'crash point') return this.#count('point' in fault ? `kill ${fault.point}` : 'kill')
    if (end.by === 'stop' && end.code === 0) return this.#count('stopped')
    if (end.by === 'itself' && failedStartAt !== undefined && this.#options.mayFailToStart(failedStartAt)) {
      this.#count('could not start')
      return await this.#stayDown(startRetryMs, signal)
    }
    this.crashes.push(end)
  }

  async #inject (fault: ProcessFault, instance: InstanceProcess, signal: AbortSignal): Promise<void> {
    const { random, plan: { runDuration } } = this.#options
    const wait = ([from, to]: Span) => delay(random.between(from, to), undefined, { signal })
    const reachesPoint = () => Promise.race([instance.atCrashPoint.then(() => true), delay(crashPointTimeoutMs, false, { signal })])
    // It may reach its crash point before it listens, because it resumes open tasks first.
    await Promise.race([instance.atCrashPoint, instance.started(`${this.#options.url}/livez`, signal)])
    switch (fault.kind) {
      case 'killed at a crash point':
        if (await reachesPoint()) await instance.ended
        return
      case 'frozen at a crash point':
        if (await reachesPoint()) await this.#thaw(fault.point, instance, wait)
        break
      case 'disk full at a crash point':
        if (await reachesPoint()) await this.#fillDisk('disk full while copying', instance, wait)
        break
      case 'frozen':
        await wait(runDuration.killed)
        instance.freeze()
        await this.#thaw('freeze at random', instance, wait)
        break
      case 'disk full':
        await wait(runDuration.afterFault)
        await this.#fillDisk(fault.kind, instance, wait)
        break
      case 'clock stepped':
        await wait(runDuration.afterFault)
        await this.#stepClock(wait)
        break
      case 'stopped':
        await wait(runDuration.killed)
        await instance.stop(graceMs)
        return
      case 'killed':
      case 'undisturbed':
        return await wait(runDuration[fault.kind])
    }
    await wait(runDuration.afterFault)
  }

  async #thaw (name: string, instance: InstanceProcess, wait: (span: Span) => Promise<void>): Promise<void> {
    const { plan, logEvent } = this.#options
    this.#count(name)
    logEvent(`process ${instance.pid}: ${name}`)
    this.#frozenUntil = Infinity
    try {
      await wait(plan.freezeDuration)
    } finally {
      this.#frozenUntil = Date.now() + thawingMs
    }
    instance.thaw()
    logEvent(`process ${instance.pid} thawed`)
  }

  /** A frozen process continues when its disk is full. One process in three is killed while it is. */
  async #fillDisk (name: string, instance: InstanceProcess, wait: (span: Span) => Promise<void>): Promise<void> {
    await instance.setDisk('full')
    instance.thaw()
    this.#count(name)
    this.#options.logEvent(name)
    await wait([1_000, 3_000])
    if (this.#options.random.happens(1 / 3)) await instance.kill()
    await instance.setDisk('free')
    this.#options.logEvent('disk free')
  }

  async #stepClock (wait: (span: Span) => Promise<void>): Promise<void> {
    const { clock, random, logEvent } = this.#options
    if (clock === undefined) return
    const ms = Math.round(random.between(...clock.maxOffsetMs))
    clock.instance.step(ms)
    this.#count('clock stepped')
    logEvent(`the clock steps to ${ms} ms ahead`)
    try {
      await wait([2_000, 5_000])
    } finally {
      clock.instance.reset()
      logEvent('the clock has stepped back')
    }
  }

  #trigger (fault: ProcessFault): CrashTrigger | undefined {
    return 'point' in fault ? { point: fault.point, occurrence: this.#options.random.integer(1, 3) } : undefined
  }

  #count (name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
  }
}
