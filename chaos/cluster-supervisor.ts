import { setTimeout as delay } from 'node:timers/promises'
import type { Chance } from './seeded-random.ts'
import type { DatabaseTrouble } from './database-faults.ts'
import type { Lives } from './process-supervisor.ts'
import type { ServiceLives } from './instance-supervisor.ts'
import type { Death } from './instance-process.ts'

export interface ClusterOptions {
  /** on the same database */
  instances: ServiceLives[]
  database: DatabaseTrouble
  chance: Chance
  /** Writes an event into the log. */
  tell: (event: string) => void
}

type CommonTrouble = 'fast restart' | 'crash' | 'connections cut' | 'all but one down'
const commonTroubles: CommonTrouble[] = ['fast restart', 'crash', 'connections cut', 'connections cut', 'all but one down']
const betweenTroublesMs = [4_000, 10_000] as const
const downMs = [3_000, 9_000] as const

/** Instances that each go through a life of their own, and the troubles that come over several of them at once. */
export class Cluster implements Lives {
  readonly #options: ClusterOptions
  readonly #counts = new Map<string, number>()

  constructor (options: ClusterOptions) {
    this.#options = options
  }

  get counts (): Map<string, number> {
    const all = [this.#counts, this.#options.database.counts, ...this.#options.instances.map(({ counts }) => counts)].flatMap((counts) => [...counts])
    return new Map([...Map.groupBy(all, ([name]) => name)].map(([name, alike]) => [name, alike.reduce((sum, [, count]) => sum + count, 0)]))
  }

  get crashes (): Death[] {
    return this.#options.instances.flatMap(({ crashes }) => crashes)
  }

  get kills (): number {
    return this.#options.instances.reduce((sum, { kills }) => sum + kills, 0)
  }

  get isDead (): boolean {
    return this.#options.instances.some(({ isDead }) => isDead)
  }

  async live (signal: AbortSignal): Promise<void> {
    await Promise.all([this.#troubleAll(signal), ...this.#options.instances.map((instance) => instance.live(signal))])
  }

  async startAnew (signal: AbortSignal): Promise<void> {
    await Promise.all(this.#options.instances.map((instance) => instance.startAnew(signal)))
  }

  async stop (): Promise<Death[]> {
    return (await Promise.all(this.#options.instances.map((instance) => instance.stop()))).flat()
  }

  async destroy (): Promise<void> {
    await Promise.all(this.#options.instances.map((instance) => instance.destroy()))
  }

  async #troubleAll (signal: AbortSignal): Promise<void> {
    const { chance } = this.#options
    for (let deck: CommonTrouble[] = []; ;) {
      if (deck.length === 0) deck = chance.shuffled(commonTroubles)
      await delay(chance.between(...betweenTroublesMs), undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
      await this.#suffer(deck.pop(), signal)
    }
  }

  async #suffer (trouble: CommonTrouble | undefined, signal: AbortSignal): Promise<void> {
    const { database } = this.#options
    switch (trouble) {
      case 'fast restart': return await database.restart('fast', signal)
      case 'crash': return await database.restart('immediate', signal)
      case 'connections cut': return await database.cutConnections()
      case 'all but one down': return await this.#fellAllButOne()
    }
  }

  async #fellAllButOne (): Promise<void> {
    const { instances, chance, tell } = this.#options
    const ms = chance.between(...downMs)
    const [, ...felled] = chance.shuffled(instances)
    tell(`${felled.length} instances down for ${Math.round(ms)} ms`)
    this.#counts.set('all but one down', (this.#counts.get('all but one down') ?? 0) + 1)
    await Promise.all(felled.map((instance) => instance.fall(ms)))
  }
}
