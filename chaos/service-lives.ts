import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Chance } from './chance.ts'
import { ServiceProcess, type Death } from './service-process.ts'
import { killPoints, stopPoints, type KillPoint, type StopPoint, type Strike } from './strike-points.ts'

/** What one life of the service is to go through; each ends with a `kill -9`. */
export type Life =
  | { trouble: 'killed at a point', point: KillPoint }
  | { trouble: 'frozen at a point', point: StopPoint }
  | { trouble: 'frozen' | 'killed' | 'disk full' | 'left alone' }

export interface ServiceLivesOptions {
  url: string
  chance: Chance
  /** Gets what the processes print. */
  log: Writable
  /** Writes an event into the same log. */
  tell: (event: string) => void
  /** The environment of the next life: half of them may be configured in another way. */
  nextEnv: () => Record<string, string>
  /** ms, from and to */
  frozenFor: [number, number]
  /** In what order the troubles come; asked again when all of them have been. */
  nextDeck: () => Life[]
}

const strikeWithinMs = 4_000
const aliveFor = { killed: [300, 3_500], 'left alone': [8_000, 20_000], afterwards: [500, 2_500] } as const

/** One process after another on the same data, each in trouble, none mourned for long. */
export class ServiceLives {
  /** By name: kills at each point and at random, stops, full disks. */
  readonly counts = new Map<string, number>()
  /** Ends that nobody asked for. */
  readonly crashes: Death[] = []
  readonly #options: ServiceLivesOptions
  #current: ServiceProcess | undefined

  constructor (options: ServiceLivesOptions) {
    this.#options = options
    for (const point of killPoints) this.counts.set(`kill ${point}`, 0)
    for (const point of stopPoints) this.counts.set(point, 0)
  }

  get kills (): number {
    return [...this.counts].reduce((sum, [name, count]) => name.startsWith('kill') ? sum + count : sum, 0)
  }

  /** One life after another until the signal; the last one is over by then, too. */
  async live (signal: AbortSignal): Promise<void> {
    for (let deck: Life[] = []; !signal.aborted;) {
      if (deck.length === 0) deck = this.#options.nextDeck()
      const life = deck.pop()
      if (life === undefined) continue
      const death = await this.#live(life, signal)
      // The weather kept the process from passing its point: another one tries later.
      if (life.trouble === 'killed at a point' && death.by === 'kill') deck.unshift(life)
    }
  }

  /** A process without any trouble, on the same data. */
  async startAnew (signal: AbortSignal): Promise<void> {
    const service = this.#start()
    await service.ready(`${this.#options.url}/readyz`, signal)
    if (service.isDead) throw new Error('The service does not start; its log says why')
  }

  /** @returns how it ended; code 0 is what it should be */
  async stop (): Promise<Death | undefined> {
    return await this.#current?.stop(30_000)
  }

  /** Leaves nothing behind, whatever state the process is in. */
  async destroy (): Promise<void> {
    await this.#current?.kill()
  }

  /** Whether the process that is to live has died by itself. */
  get isDead (): boolean {
    return this.#current?.isDead ?? true
  }

  #start (strike?: Strike): ServiceProcess {
    const { nextEnv, log } = this.#options
    this.#current = new ServiceProcess({ env: nextEnv(), strike, log })
    return this.#current
  }

  async #live (life: Life, signal: AbortSignal): Promise<Death> {
    const { tell } = this.#options
    tell(`a process starts, to be ${Object.values(life).join(' ')}`)
    const service = this.#start(this.#strikeOf(life))
    // A process that dies under a step of its trouble ends the step too.
    await Promise.race([service.death, this.#suffer(life, service, signal)]).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
    const death = await service.kill()
    tell(`it died: ${JSON.stringify(death)}`)
    if (death.by === 'itself') this.crashes.push(death)
    else this.#count('point' in life && death.by === 'strike' ? `kill ${life.point}` : 'kill at random')
    return death
  }

  async #suffer (life: Life, service: ServiceProcess, signal: AbortSignal): Promise<void> {
    const { chance } = this.#options
    const wait = ([from, to]: readonly [number, number]) => delay(chance.between(from, to), undefined, { signal })
    const struckInTime = () => Promise.race([service.struck.then(() => true), delay(strikeWithinMs, false, { signal })])
    // It may come to its point before it listens: it resumes open tasks first.
    await Promise.race([service.struck, service.ready(`${this.#options.url}/readyz`, signal)])
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
      case 'killed':
      case 'left alone':
        return await wait(aliveFor[life.trouble])
    }
    await wait(aliveFor.afterwards)
  }

  async #thaw (name: string, service: ServiceProcess, wait: (range: readonly [number, number]) => Promise<void>): Promise<void> {
    const { frozenFor, tell } = this.#options
    this.#count(name)
    tell(name)
    await wait(frozenFor)
    service.thaw()
    tell('thawed')
  }

  /** One in three dies with the disk still full. */
  async #fillDisk (service: ServiceProcess, wait: (range: readonly [number, number]) => Promise<void>): Promise<void> {
    await service.setDisk('full')
    this.#count('disk full')
    this.#options.tell('disk full')
    await wait([1_000, 3_000])
    if (this.#options.chance.happens(1 / 3)) await service.kill()
    await service.setDisk('free')
    this.#options.tell('disk free')
  }

  #strikeOf (life: Life): Strike | undefined {
    return 'point' in life ? { point: life.point, occurrence: this.#options.chance.integer(1, 3) } : undefined
  }

  #count (name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1)
  }
}
