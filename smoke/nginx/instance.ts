import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const root = new URL('../../', import.meta.url).pathname

/** One of the instances: the real `server.ts` on a port that stays its own, started again as often as it takes. */
export class Instance {
  readonly port: number
  readonly #env: Record<string, string>
  readonly #logFile: string
  #child: ChildProcess | undefined

  constructor (port: number, env: Record<string, string>, logFile: string) {
    this.port = port
    this.#env = env
    this.#logFile = logFile
  }

  /** Resolves when it is ready to serve. */
  async start (): Promise<void> {
    const log = openSync(this.#logFile, 'a')
    const child = spawn(process.execPath, ['server.ts'], {
      cwd: root,
      env: { PATH: process.env.PATH, ...this.#env, PORT: String(this.port) },
      stdio: ['ignore', log, log]
    })
    closeSync(log)
    this.#child = child
    while (!await isReady(`http://127.0.0.1:${this.port}/readyz`)) {
      if (child.exitCode !== null) throw new Error(`An instance does not start, its log is ${this.#logFile}`)
      await delay(20)
    }
  }

  /** @returns the exit code, null where the signal ended it */
  async end (signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const exit = once(child, 'exit')
    child.kill(signal)
    const [code] = await exit
    return code
  }
}

function isReady (url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(1_000) }).then(({ ok }) => ok, () => false)
}
