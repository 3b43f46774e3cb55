import type { ProcessEnd } from '../../harness/node-process.ts'
import { ServiceProcess } from '../../harness/service-process.ts'

/** One instance of the service on a port of its own, which can be started again after it has ended. */
export class Instance {
  readonly port: number
  readonly logFile: string
  readonly #env: Record<string, string>
  #process: ServiceProcess | undefined

  constructor (port: number, env: Record<string, string>, logFile: string) {
    this.port = port
    this.#env = env
    this.logFile = logFile
  }

  /** Resolves when the instance is ready to serve. */
  async start (): Promise<void> {
    this.#process = new ServiceProcess({ env: { ...this.#env, PORT: String(this.port) }, log: { file: this.logFile } })
    await this.#process.ready(`http://127.0.0.1:${this.port}/readyz`)
  }

  /** Resolves when the process has ended; at once where none was started. */
  async end (signal: 'SIGTERM' | 'SIGKILL'): Promise<ProcessEnd | undefined> {
    return await this.#process?.end(signal)
  }
}
