import type { InstanceEnd } from './instance-process.ts'

/** Runs the service under faults, as one process at a time or as a cluster. */
export interface ProcessSupervisor {
  /** How often each fault and each kind of end has occurred. */
  readonly counts: Map<string, number>
  /** Processes that ended by themselves, or that failed when they were stopped. */
  readonly crashes: InstanceEnd[]
  /** How many processes were killed with `kill -9`, at crash points and at random moments. */
  readonly kills: number
  /** Whether a process is frozen, or was frozen until a moment ago. */
  readonly isFrozen: boolean
  /** Whether a process that should run has ended by itself. */
  readonly hasDied: boolean
  /** Injects one fault after another until the signal. No fault lasts beyond the returned promise. */
  injectFaults (signal: AbortSignal): Promise<void>
  /** Starts the service on the same data without any further fault. Resolves when all of it is ready. */
  startWithoutFaults (signal: AbortSignal): Promise<void>
  /** @returns how each process ended; the expected exit code is 0 */
  stop (): Promise<InstanceEnd[]>
  /** Kills every process, whatever its state. */
  killAll (): Promise<void>
}
