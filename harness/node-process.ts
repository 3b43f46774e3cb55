import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const projectFolder = fileURLToPath(new URL('../', import.meta.url))

/** The file descriptor of the channel that `channel: 'pipe'` opens. */
export const channelDescriptor = 3

/** A file, or a stream of this process. */
export type ProcessLog = { file: string } | { stream: Writable }

export interface NodeProcessOptions {
  /** what follows `node` on the command line: flags, the file, its arguments */
  args: readonly string[]
  /** all of it, except for PATH */
  env?: Record<string, string>
  /**
   * Where standard output and standard error go. A file is written by the process itself. A stream gets what comes through
   * pipes. Without either, `output()` has it.
   */
  log?: ProcessLog
  /** One more channel: a pipe at `channelDescriptor` that the process writes to, or Node's messages between processes. */
  channel?: 'pipe' | 'ipc'
}

/** How a process ended: `code` is null where a signal ended it. */
export interface ProcessEnd { code: number | null, signal: NodeJS.Signals | null }

/** A Node program of this project, in a process of its own. */
export class NodeProcess {
  /** Resolves when the process has ended and its output has been read to the end. */
  readonly ended: Promise<ProcessEnd>
  readonly #child: ChildProcess
  readonly #exited: Promise<ProcessEnd>
  readonly #logFile: string | undefined
  readonly #command: string
  #piped = ''
  #hasEnded = false

  constructor ({ args, env = {}, log, channel }: NodeProcessOptions) {
    this.#command = `node ${args.join(' ')}`
    this.#logFile = log !== undefined && 'file' in log ? log.file : undefined
    const output = this.#logFile === undefined ? 'pipe' : openSync(this.#logFile, 'a')
    // `env -u`: under tap every child process gets a NODE_OPTIONS whose loaders handle signals.
    this.#child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], {
      cwd: projectFolder,
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', output, output, ...channel === undefined ? [] : [channel]]
    })
    if (typeof output === 'number') closeSync(output)
    const write = log !== undefined && 'stream' in log ? (text: string) => { log.stream.write(text) } : (text: string) => { this.#piped += text }
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.setEncoding('utf8').on('data', write)
    this.#exited = once(this.#child, 'exit').then(([code, signal]) => ({ code, signal }))
    this.ended = once(this.#child, 'close').then(([code, signal]) => {
      this.#hasEnded = true
      return { code, signal }
    })
  }

  get pid (): number | undefined {
    return this.#child.pid
  }

  get hasEnded (): boolean {
    return this.#hasEnded
  }

  /** What the process has written so far; not available with a stream as the log. */
  output (): string {
    return this.#logFile === undefined ? this.#piped : readFileSync(this.#logFile, 'utf8')
  }

  /** The reading end of `channel: 'pipe'`. */
  get channel (): Readable {
    // The boundary: of its type only that it is a stream or missing.
    return this.#child.stdio[channelDescriptor] as Readable
  }

  /**
   * Waits until `url` is answered with any status below 500.
   * @returns false where the process has ended before
   */
  async answers (url: string, signal?: AbortSignal): Promise<boolean> {
    while (!this.#hasEnded) {
      if (await isAnswered(url)) return true
      await delay(10, undefined, { signal })
    }
    return false
  }

  /**
   * As `answers`.
   * @throws Error with the output where the process has ended instead
   */
  async ready (url: string, signal?: AbortSignal): Promise<void> {
    if (!await this.answers(url, signal)) throw new Error(`${this.#command} ended before it was ready: ${this.output()}`)
  }

  signal (name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** @returns how it ended, also where it had ended before */
  async kill (): Promise<ProcessEnd> {
    this.signal('SIGKILL')
    return await this.ended
  }

  /** Sends the signal, if one is given, and waits for the end. @returns how it ended, and everything it has written */
  async end (name?: NodeJS.Signals): Promise<ProcessEnd & { output: string }> {
    if (name !== undefined) this.signal(name)
    return { ...await this.ended, output: this.output() }
  }

  /** As `end`, without reading the rest of the output. */
  async exit (name: NodeJS.Signals): Promise<ProcessEnd> {
    this.signal(name)
    const end = await this.#exited
    this.closeOutput()
    return end
  }

  /** SIGTERM, and SIGKILL if it has not ended within `graceMs`. */
  async stop (graceMs: number): Promise<ProcessEnd> {
    this.signal('SIGTERM')
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs)
    return await this.ended.finally(() => clearTimeout(timer))
  }

  freeze (): void {
    this.signal('SIGSTOP')
  }

  thaw (): void {
    this.signal('SIGCONT')
  }

  /** Stops reading its standard output, or goes on. */
  readOutput (reads: boolean): void {
    this.#child.stdout?.[reads ? 'resume' : 'pause']()
  }

  /** Closes the reading end of its standard output. */
  closeOutput (): void {
    this.#child.stdout?.destroy()
  }

  /** From now on no file of the process can grow beyond `bytes`, which is what a full disk looks like from inside (Linux). */
  async limitFileSize (bytes: number | 'unlimited'): Promise<void> {
    try {
      await promisify(execFile)('prlimit', [`--fsize=${bytes}:`, '--pid', String(this.#child.pid)])
    } catch (error) {
      // A process that has ended in the meantime has no limits.
      if (this.#child.exitCode === null && this.#child.signalCode === null) throw error
    }
  }

  /** Resident memory in MB. */
  residentMegabytes (): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024
  }

  /** CPU time used so far, in ms. */
  cpuMs (): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10
  }

  /**
   * Sends a message over `channel: 'ipc'`.
   * @returns the next message that comes back; its type is for the caller to know
   * @throws Error where the process has ended
   */
  async ask<T> (message: unknown): Promise<T> {
    const over = new AbortController()
    const answer = once(this.#child, 'message', { signal: over.signal })
    const end = this.ended.then(() => { throw new Error(`${this.#command} has ended`) })
    end.catch(() => undefined)
    answer.catch(() => undefined)
    this.#child.send(message as object)
    try {
      const [received] = await Promise.race([answer, end])
      return received
    } finally {
      over.abort()
    }
  }
}

function isAnswered (url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(1_000) }).then(({ status }) => status < 500, () => false)
}
