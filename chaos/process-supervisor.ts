import type { Death } from './instance-process.ts'

/** The service under trouble, one process of it or many. */
export interface Lives {
  /** How often what happened to it, by name. */
  readonly counts: Map<string, number>
  /** Ends that nobody asked for, or that should have been peaceful. */
  readonly crashes: Death[]
  /** `kill -9`, at points and at random */
  readonly kills: number
  /** Whether a process that is to live has died by itself. */
  readonly isDead: boolean
  /** One trouble after another until the signal; the last one is over by then, too. */
  live (signal: AbortSignal): Promise<void>
  /** From here on without any trouble, on the same data. Resolves when all of it is ready. */
  startAnew (signal: AbortSignal): Promise<void>
  /** @returns how each process ended; code 0 is what it should be */
  stop (): Promise<Death[]>
  /** Leaves no process behind, whatever state it is in. */
  destroy (): Promise<void>
}
