import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmulator } from '../../harness/emulator.ts'
import { freePort } from '../../harness/free-port.ts'
import { PostgresServer } from '../../harness/postgres-server.ts'
import { unlimited } from '../../harness/unlimited.ts'
import { Instance } from './instance.ts'
import { Nginx } from './nginx.ts'

/** The processes of a run, on free ports of 127.0.0.1, with all logs in one folder. */
export class Environment {
  readonly folder: string
  /** Stops what was started, in the order of the start. */
  readonly #stops: Array<() => Promise<unknown>> = []

  static async create (): Promise<Environment> {
    const folder = await mkdtemp(join(tmpdir(), 'dreamreel-smoke-'))
    // The workers of nginx have no rights, and have to pass through this folder.
    await chmod(folder, 0o755)
    return new Environment(folder)
  }

  private constructor (folder: string) {
    this.folder = folder
  }

  /** @returns the emulator, the instances, which are ready, and nginx in front of them */
  async start () {
    const { emulator, apiUrl, close } = await startEmulator({ generationMs: 1_500, rateLimits: false })
    this.#stops.push(close)
    const postgres = await PostgresServer.start()
    this.#stops.push(() => postgres.stop())
    const startInstance = (name: string) => this.#startInstance(name, { DATABASE_URL: postgres.url, REPLICATE_API_URL: apiUrl })
    const instances = await Promise.all([startInstance('dreamreel-1'), startInstance('dreamreel-2'), startInstance('dreamreel-3')])
    const nginx = await Nginx.start(join(this.folder, 'nginx'), await freePort(), instances.map(({ port }) => port))
    this.#stops.push(() => nginx.stop())
    return { emulator, instances, nginx }
  }

  async #startInstance (name: string, env: Record<string, string>): Promise<Instance> {
    const instance = new Instance(await freePort(), {
      ...env,
      DATA_DIR: join(this.folder, 'data'),
      REPLICATE_API_TOKEN: 'test-token',
      FFMPEG_PATH: 'off',
      ...unlimited,
      REPLICATE_POLL_INTERVAL_MS: '500',
      TRUST_PROXY: '1',
      SHUTDOWN_DELAY_SECONDS: '5'
    }, join(this.folder, `${name}.log`))
    this.#stops.push(() => instance.end('SIGKILL'))
    await instance.start()
    return instance
  }

  /** @param keepLogs whether the folder stays */
  async clear (keepLogs: boolean): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) await stop()
    if (!keepLogs) await rm(this.folder, { recursive: true, force: true })
  }
}
