import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Chance } from './seeded-random.ts'
import type { InstanceClock } from './instance-clock.ts'
import type { Lives } from './process-supervisor.ts'
import type { Life, Plan, Span } from './plan.ts'
import { ServiceProcess, type Death } from './instance-process.ts'
import { killPoints, stopPoints, type Strike } from './crash-points.ts'

export interface ServiceLivesOptions {
  url: string
  chance: Chance
  /** Gets what the processes print. */
  log: Writable
  /** Writes an event into the same log. */
  tell: (event: string) => void
  /** The environment of the next life: half of them may be configured in another way. */
  nextEnv: () => Record<string, string>
  plan: Pick<Plan, 'aliveFor' | 'frozenFor' | 'goneFor'>
  /** In what order the troubles come; asked again when all of them have been. */
  nextDeck: () => Life[]
  /** Of each of the processes, and how far it may step from the true time (ms); without it theirs is the machine's. */
  clock?: { instance: InstanceClock, farthest: Span } | undefined
  /** Whether a process that was started then (ms since the epoch) may have ended for what it needs was away. */
  mayFailToStart: (startedAt: number) => boolean
}

const strikeWithinMs = 4_000
const graceMs = 30_000
const beforeAnotherStartMs = 500

/** One process after another on the same data, each in trouble, none mourned for long. */
export class ServiceLives implements Lives {
  readonly counts = new Map<string, number>()
  readonly crashes: Death[] = []
  readonly #options: ServiceLivesOptions
  #current: ServiceProcess | undefined
  /** ms since the epoch: no process starts before. */
  #goneUntil = 0

  constructor (options: ServiceLivesOptions) {
    this.#options = options
    for (const point of killPoints) this.counts.set(`kill ${point}`, 0)
    for (const point of stopPoints) this.counts.set(point, 0)
  }

  get kills (): number {
    return [...this.counts].reduce((sum, [name, count]) => name.startsWith('kill') ? sum + count : sum, 0)
  }

  get isDead (): boolean {
    return this.#current?.isDead ?? true
  }

  async live (signal: AbortSignal): Promise<void> {
    const { chance, plan, nextDeck } = this.#options
    for (let deck: Life[] = []; !signal.aborted;) {
      if (deck.length === 0) deck = nextDeck()
      const life = deck.pop()
      if (life === undefined) continue
      const death = await this.#live(life, signal)
      // The weather kept the process from passing its point: another one tries later.
      if (life.trouble === 'killed at a point' && death.by !== 'strike') deck.unshift(life)
      await this.#stayAway(chance.between(...plan.goneFor), signal)
    }
  }

  async startAnew (signal: AbortSignal): Promise<void> {
    const service = this.#start()
    await service.ready(`${this.#options.url}/readyz`, signal)
    if (service.isDead) throw new Error('The service does not start; its log says why')
  }

  /** Kills the process, in whatever trouble it is; the next one does not start before `ms` have passed. */
  async fall (ms: number): Promise<void> {
    this.#goneUntil = Date.now() + ms
    await this.#current?.kill()
  }

  async stop (): Promise<Death[]> {
    return this.#current === undefined ? [] : [await this.#current.stop(graceMs)]
  }

  async destroy (): Promise<void> {
    await this.#current?.kill()
  }

  #start (strike?: Strike): ServiceProcess {
    const { nextEnv, clock, log } = this.#options
    this.#current = new ServiceProcess({ env: { ...nextEnv(), ...clock?.instance.env }, strike, log })
    return this.#current
  }

  async #stayAway (ms: number, signal: AbortSignal): Promise<void> {
    this.#goneUntil = Math.max(this.#goneUntil, Date.now() + ms)
    for (let left = ms; left > 0 && !signal.aborted; left = this.#goneUntil - Date.now()) {
      await delay(left, undefined, { signal }).catch(() => undefined)
    }
  }

  async #live (life: Life, signal: AbortSignal): Promise<Death> {
    const { tell } = this.#options
    const startedAt = Date.now()
    const service = this.#start(this.#strikeOf(life))
    tell(`process ${service.pid} starts, to be ${Object.values(life).join(' ')}`)
    // A process that dies under a step of its trouble ends the step too.
    const over = new AbortController()
    const isOver = AbortSignal.any([signal, over.signal])
    await Promise.race([service.death, this.#suffer(life, service, isOver)]).catch((error: unknown) => {
      if (!isOver.aborted) throw error
    })
    over.abort()
    const death = await service.kill()
    tell(`process ${service.pid} died: ${JSON.stringify(death)}`)
    await this.#record(life, death, service.hasStarted ? undefined : startedAt, signal)
    return death
  }

  async #record (life: Life, death: Death, failedStartAt: number | undefined, signal: AbortSignal): Promise<void> {
    if (death.by === 'kill') return this.#count('kill at random')
    if (death.by === 'strike') return this.#count('point' in life ? `kill ${life.point}` : 'kill')
    if (death.by === 'stop' && death.code === 0) return this.#count('stopped in peace')
    if (death.by === 'itself' && failedStartAt !== undefined && this.#options.mayFailToStart(failedStartAt)) {
      this.#count('could not start')
      return await this.#stayAway(beforeAnotherStartMs, signal)
    }
    this.crashes.push(death)
  }

  async #suffer (life: Life, service: ServiceProcess, signal: AbortSignal): Promise<void> {
    const { chance, plan: { aliveFor } } = this.#options
    const wait = ([from, to]: Span) => delay(chance.between(from, to), undefined, { signal })
    const struckInTime = () => Promise.race([service.struck.then(() => true), delay(strikeWithinMs, false, { signal })])
    // It may come to its point before it listens: it resumes open tasks first.
    await Promise.race([service.struck, service.ready(`${this.#options.url}/livez`, signal)])
    switch (life.trouble) {
      case 'killed at a point':
        if (await struckInTime()) await service.death
        return
      case 'frozen at a point':
        if (await struckInTime()) await this.#thaw(life.point, service, wait)
        break
      case 'frozen':
        await wait(aliveFor.killed)
        service.freeze()
        await this.#thaw('stop at random', service, wait)
        break
      case 'disk full':
        await wait(aliveFor.afterwards)
        await this.#fillDisk(service, wait)
        break
      case 'clock stepped':
        await wait(aliveFor.afterwards)
        await this.#stepClock(wait)
        break
      case 'stopped':
        await wait(aliveFor.killed)
        await service.stop(graceMs)
        return
      case 'killed':
      case 'left alone':
        return await wait(aliveFor[life.trouble])
    }
    await wait(aliveFor.afterwards)
  }

  async #thaw (name: string, service: ServiceProcess, wait: (range: Span) => Promise<void>): Promise<void> {
    const { plan, tell } = this.#options
    this.#count(name)
    tell(`process ${service.pid}: ${name}`)
    await wait(plan.frozenFor)
    service.thaw()
    tell(`process ${service.pid} thawed`)
  }

  /** One in three dies with the disk still full. */
  async #fillDisk (service: ServiceProcess, wait: (range: Span) => Promise<void>): Promise<void> {
    await service.setDisk('full')
    this.#count('disk full')
    this.#options.tell('disk full')
    await wait([1_000, 3_000])
    if (this.#options.chance.happens(1 / 3)) await service.kill()
    await service.setDisk('free')
    this.#options.tell('disk free')
  }

  async #stepClock (wait: (range: Span) => Promise<void>): Promise<void> {
    const { clock, chance, tell } = this.#options
    if (clock === undefined) return
    const ms = Math.round(chance.between(...clock.farthest))
    clock.instance.step(ms)
    this.#count('clock stepped')
    tell(`the clock steps to ${ms} ms ahead`)
    try {
      await wait([2_000, 5_000])
    } finally {
      clock.instance.stepBack()
      tell('the clock has stepped back')
    }
  }

  #strikeOf (life: Life): Strike | undefined {
    return 'point' in life ? { point: life.point, occurrence: this.#options.chance.integer(1, 3) } : undefined
  }

  #count (name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
  }
}
