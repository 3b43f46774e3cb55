import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import packageJson from '../package.json' with { type: 'json' }
import { formatStrike, strikePipe, strikeVariable, type Strike } from './crash-points.ts'

const root = new URL('../', import.meta.url).pathname
/** Node's flags of `npm start`, but for the file of settings: what a developer has in there must not reach the chaos. */
const nodeFlags = packageJson.scripts.start.split(' ').slice(1, -1).filter((flag) => !flag.startsWith('--env-file'))
const run = promisify(execFile)

export interface ServiceProcessOptions {
  env: Record<string, string>
  /** where the process kills or freezes itself */
  strike?: Strike | undefined
  /** gets everything that the process prints */
  log: Writable
}

/** How a process ended: by our `kill -9`, by the strike it was given, or in a way that nobody asked for. */
export interface Death { by: 'kill' | 'strike' | 'stop' | 'itself', code: number | null, signal: NodeJS.Signals | null }

/** One life of the real `server.ts`. */
export class ServiceProcess {
  readonly death: Promise<Death>
  /** Resolves when the process says that its strike comes now; never where it has none. */
  readonly struck: Promise<void>
  readonly #child: ChildProcess
  #askedTo: 'kill' | 'strike' | 'stop' | 'itself' = 'itself'
  #isDead = false
  #hasStarted = false

  constructor ({ env, strike, log }: ServiceProcessOptions) {
    this.#child = spawn(process.execPath, [...nodeFlags, '--import', './chaos/crash-point-preload.ts', 'server.ts'], {
      cwd: root,
      env: { PATH: process.env.PATH, ...env, ...(strike && { [strikeVariable]: formatStrike(strike) }) },
      // Not a file: on a full disk the process could not log, which is not what is tried here.
      stdio: ['ignore', 'pipe', 'pipe', 'pipe']
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (chunk) => { log.write(chunk) })
    this.struck = new Promise((resolve) => {
      this.#child.stdio[strikePipe]?.once('data', () => {
        if (strike?.point.startsWith('stop_') === false) this.#askedTo = 'strike'
        resolve()
      })
    })
    // Not `exit`: the pipes are read to their end by then, so the strike is known.
    this.death = once(this.#child, 'close').then(([code, signal]) => {
      this.#isDead = true
      return { by: signal === 'SIGKILL' || this.#askedTo === 'stop' ? this.#askedTo : 'itself', code, signal }
    })
  }

  get isDead (): boolean {
    return this.#isDead
  }

  get pid (): number | undefined {
    return this.#child.pid
  }

  /** Whether it was seen to answer. */
  get hasStarted (): boolean {
    return this.#hasStarted
  }

  /** Resolves when `url` answers 200, or when the process has died. */
  async ready (url: string, signal: AbortSignal): Promise<void> {
    while (!this.#isDead && !this.#hasStarted) {
      this.#hasStarted = await answers(url)
      if (!this.#hasStarted) await delay(20, undefined, { signal })
    }
  }

  kill (): Promise<Death> {
    if (this.#askedTo !== 'strike') this.#askedTo = 'kill'
    this.#child.kill('SIGKILL')
    return this.death
  }

  /** SIGTERM, and SIGKILL to a process that has not ended within `graceMs`. */
  async stop (graceMs: number): Promise<Death> {
    this.#askedTo = 'stop'
    this.#child.kill('SIGTERM')
    const giveUp = setTimeout(() => this.#child.kill('SIGKILL'), graceMs)
    return await this.death.finally(() => clearTimeout(giveUp))
  }

  freeze (): void {
    this.#child.kill('SIGSTOP')
  }

  thaw (): void {
    this.#child.kill('SIGCONT')
  }

  /** `full`: no file of the process can grow any more, which is what a full disk looks like from inside (Linux). */
  async setDisk (state: 'full' | 'free'): Promise<void> {
    if (this.#isDead) return
    try {
      await run('prlimit', [`--fsize=${state === 'full' ? 1 : 'unlimited'}:`, '--pid', String(this.#child.pid)])
    } catch (error) {
      if (!this.#isDead && this.#child.signalCode === null && this.#child.exitCode === null) throw error
    }
  }
}

function answers (url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(1_000) }).then(({ ok }) => ok, () => false)
}
