import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const root = new URL('../', import.meta.url).pathname

/** As `process.memoryUsage()` says it, in bytes. */
export interface MemoryReport { rss: number, heapUsed: number, external: number }

/** A process under measurement, in a folder of its own under the temporary folder; its log goes to a file there. */
export class MeasuredProcess {
  readonly url: string
  /** ms from spawn to the first answer of `readyPath` */
  readonly startMs: number
  #child
  #folder

  private constructor (child: ChildProcess, url: string, folder: string, startMs: number) {
    this.#child = child
    this.url = url
    this.#folder = folder
    this.startMs = startMs
  }

  /**
   * Starts Node in the project's folder and waits until `readyPath` answers.
   * @param command what stands behind `node`, parted by spaces
   */
  static async start (command: string, port: number, readyPath: string, env: Record<string, string> = {}): Promise<MeasuredProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'dreamreel-bench-'))
    const log = openSync(join(folder, 'log'), 'w')
    const startedAt = performance.now()
    const child = spawn(process.execPath, command.split(' '), {
      cwd: root, env: { PATH: process.env.PATH, DATA_DIR: join(folder, 'data'), ...env }, stdio: ['ignore', log, log, 'ipc']
    })
    const url = `http://127.0.0.1:${port}`
    while (!await answers(`${url}${readyPath}`)) {
      if (child.exitCode !== null) throw new Error(`${command} ended: ${readFileSync(join(folder, 'log'), 'utf8')}`)
      await delay(5)
    }
    return new MeasuredProcess(child, url, folder, performance.now() - startedAt)
  }

  /** Resident memory in MB. */
  residentMegabytes (): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1024
  }

  /**
   * What the process holds after a forced garbage collection, in bytes: it has to be loaded with `memory-reporter.ts`.
   * @throws where the process has ended
   */
  async memory (): Promise<MemoryReport> {
    const [report] = await new Promise<MemoryReport[]>((resolve, reject) => {
      once(this.#child, 'message').then(resolve, reject)
      this.#child.send('memory', (error) => { if (error !== null) reject(error) })
    })
    if (report === undefined) throw new Error('An empty report')
    return report
  }

  /** CPU time used so far, in ms. */
  cpuMs (): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10
  }

  async stop (): Promise<void> {
    if (this.#child.kill('SIGKILL')) await once(this.#child, 'close').catch(() => undefined)
    await rm(this.#folder, { recursive: true, force: true })
  }
}

async function answers (url: string): Promise<boolean> {
  return fetch(url).then(({ status }) => status < 500, () => false)
}
