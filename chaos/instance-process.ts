import type { Writable } from 'node:stream'
import type { ProcessEnd } from '../harness/node-process.ts'
import { ServiceProcess } from '../harness/service-process.ts'
import { crashTriggerVariable, formatTrigger, isFreezePoint, type CrashTrigger } from './crash-points.ts'

export interface InstanceProcessOptions {
  env: Record<string, string>
  /** where the process kills or freezes itself */
  trigger?: CrashTrigger | undefined
  /** gets everything that the process prints */
  log: Writable
}

/** How a process ended: killed or stopped by this program, killed at its crash point, or by itself, which is a fault. */
export interface InstanceEnd extends ProcessEnd { by: 'kill' | 'crash point' | 'stop' | 'itself' }

/** A process of the service that can crash or freeze at a crash point. */
export class InstanceProcess {
  readonly ended: Promise<InstanceEnd>
  /** Resolves when the process reaches its crash point; never without a trigger. */
  readonly atCrashPoint: Promise<void>
  readonly #process: ServiceProcess
  #endedBy: InstanceEnd['by'] = 'itself'
  #hasStarted = false

  constructor ({ env, trigger, log }: InstanceProcessOptions) {
    this.#process = new ServiceProcess({
      flags: ['--import', './chaos/crash-point-preload.ts'],
      env: { ...env, ...(trigger && { [crashTriggerVariable]: formatTrigger(trigger) }) },
      // A stream instead of a file: on a full disk the process has to be able to log.
      log: { stream: log },
      channel: 'pipe'
    })
    this.atCrashPoint = new Promise((resolve) => {
      this.#process.channel.once('data', () => {
        if (trigger !== undefined && !isFreezePoint(trigger.point)) this.#endedBy = 'crash point'
        resolve()
      })
    })
    // The pipes have been read to their end by then, so that the crash point is known.
    this.ended = this.#process.ended.then(({ code, signal }) => (
      { by: signal === 'SIGKILL' || this.#endedBy === 'stop' ? this.#endedBy : 'itself', code, signal }
    ))
  }

  get hasEnded (): boolean {
    return this.#process.hasEnded
  }

  get pid (): number | undefined {
    return this.#process.pid
  }

  /** Whether it has answered a request. */
  get hasStarted (): boolean {
    return this.#hasStarted
  }

  /** Resolves when `url` is answered, or when the process has ended. */
  async started (url: string, signal: AbortSignal): Promise<void> {
    this.#hasStarted ||= await this.#process.answers(url, signal)
  }

  async kill (): Promise<InstanceEnd> {
    if (this.#endedBy !== 'crash point') this.#endedBy = 'kill'
    this.#process.signal('SIGKILL')
    return await this.ended
  }

  /** SIGTERM, and SIGKILL if the process has not ended within `graceMs`. */
  async stop (graceMs: number): Promise<InstanceEnd> {
    this.#endedBy = 'stop'
    await this.#process.stop(graceMs)
    return await this.ended
  }

  freeze (): void {
    this.#process.freeze()
  }

  thaw (): void {
    this.#process.thaw()
  }

  async setDisk (state: 'full' | 'free'): Promise<void> {
    await this.#process.limitFileSize(state === 'full' ? 1 : 'unlimited')
  }
}
