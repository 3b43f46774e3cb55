import { pause } from '../harness/until.ts'
import type { DatabaseFaults } from './database-faults.ts'
import type { InstanceEnd } from './instance-process.ts'
import type { InstanceSupervisor } from './instance-supervisor.ts'
import type { ProcessSupervisor } from './process-supervisor.ts'
import type { SeededRandom } from './seeded-random.ts'

export interface ClusterSupervisorOptions {
  /** on the same database */
  instances: InstanceSupervisor[]
  database: DatabaseFaults
  random: SeededRandom
  /** writes an event into the log */
  logEvent: (event: string) => void
}

type SharedFault = 'fast restart' | 'crash' | 'connections cut' | 'all but one down'
const sharedFaults: SharedFault[] = ['fast restart', 'crash', 'connections cut', 'connections cut', 'all but one down']
const betweenFaultsMs = [4_000, 10_000] as const
const downMs = [3_000, 9_000] as const

/** Instances that each have faults of their own, and faults that affect several of them at once. */
export class ClusterSupervisor implements ProcessSupervisor {
  readonly #options: ClusterSupervisorOptions
  readonly #counts = new Map<string, number>()

  constructor (options: ClusterSupervisorOptions) {
    this.#options = options
  }

  get counts (): Map<string, number> {
    const all = [this.#counts, this.#options.database.counts, ...this.#options.instances.map(({ counts }) => counts)].flatMap((counts) => [...counts])
    return new Map([...Map.groupBy(all, ([name]) => name)].map(([name, alike]) => [name, alike.reduce((sum, [, count]) => sum + count, 0)]))
  }

  get crashes (): InstanceEnd[] {
    return this.#options.instances.flatMap(({ crashes }) => crashes)
  }

  get kills (): number {
    return this.#options.instances.reduce((sum, { kills }) => sum + kills, 0)
  }

  get isFrozen (): boolean {
    return this.#options.instances.some(({ isFrozen }) => isFrozen)
  }

  get hasDied (): boolean {
    return this.#options.instances.some(({ hasDied }) => hasDied)
  }

  async injectFaults (signal: AbortSignal): Promise<void> {
    await Promise.all([this.#injectSharedFaults(signal), ...this.#options.instances.map((instance) => instance.injectFaults(signal))])
  }

  async startWithoutFaults (signal: AbortSignal): Promise<void> {
    await Promise.all(this.#options.instances.map((instance) => instance.startWithoutFaults(signal)))
  }

  async stop (): Promise<InstanceEnd[]> {
    return (await Promise.all(this.#options.instances.map((instance) => instance.stop()))).flat()
  }

  async killAll (): Promise<void> {
    await Promise.all(this.#options.instances.map((instance) => instance.killAll()))
  }

  async #injectSharedFaults (signal: AbortSignal): Promise<void> {
    const { random } = this.#options
    for (let faults: SharedFault[] = []; ;) {
      if (faults.length === 0) faults = random.shuffled(sharedFaults)
      await pause(random.between(...betweenFaultsMs), signal)
      if (signal.aborted) return
      await this.#inject(faults.pop(), signal)
    }
  }

  async #inject (fault: SharedFault | undefined, signal: AbortSignal): Promise<void> {
    const { database } = this.#options
    switch (fault) {
      case 'fast restart': return await database.restart('fast', signal)
      case 'crash': return await database.restart('immediate', signal)
      case 'connections cut': return await database.cutConnections()
      case 'all but one down': return await this.#takeDownAllButOne()
    }
  }

  async #takeDownAllButOne (): Promise<void> {
    const { instances, random, logEvent } = this.#options
    const ms = random.between(...downMs)
    const [, ...down] = random.shuffled(instances)
    logEvent(`${down.length} instances down for ${Math.round(ms)} ms`)
    this.#counts.set('all but one down', (this.#counts.get('all but one down') ?? 0) + 1)
    await Promise.all(down.map((instance) => instance.takeDown(ms)))
  }
}
