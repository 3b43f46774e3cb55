import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../harness/free-port.ts'
import { buildEmulator } from '../../replicate-emulator/app.ts'
import { PostgresServer } from '../../harness/postgres-server.ts'
import { Instance } from './instance.ts'
import { Nginx } from './nginx.ts'

/** Everything that takes part, on free ports of 127.0.0.1, with all logs in one folder. */
export class Stage {
  readonly folder: string
  readonly replicate = buildEmulator({ generationMs: 1_500, rateLimits: false })
  /** How to end what was started, in the order of its start. */
  readonly #ends: Array<() => Promise<unknown>> = [() => this.replicate.close()]

  static async open (): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), 'dreamreel-deploy-'))
    // nginx's workers have no rights, and pass through it.
    await chmod(folder, 0o755)
    return new Stage(folder)
  }

  private constructor (folder: string) {
    this.folder = folder
  }

  /** @returns the instances, ready, and nginx in front of them */
  async start () {
    const postgres = await PostgresServer.start()
    this.#ends.push(() => postgres.stop())
    const apiUrl = `${await this.replicate.listen({ port: 0, host: '127.0.0.1' })}/v1`
    const instanceOf = (name: string) => this.#startInstance(name, { DATABASE_URL: postgres.url, REPLICATE_API_URL: apiUrl })
    const instances = await Promise.all([instanceOf('dreamreel-1'), instanceOf('dreamreel-2'), instanceOf('dreamreel-3')])
    const nginx = await Nginx.start(join(this.folder, 'nginx'), await freePort(), instances.map(({ port }) => port))
    this.#ends.push(() => nginx.stop())
    return { instances, nginx }
  }

  async #startInstance (name: string, env: Record<string, string>): Promise<Instance> {
    const instance = new Instance(await freePort(), {
      ...env,
      DATA_DIR: join(this.folder, name),
      REPLICATE_API_TOKEN: 'test-token',
      REPLICATE_CREATES_PER_MINUTE: '100000',
      REPLICATE_READS_PER_MINUTE: '100000',
      REPLICATE_POLL_INTERVAL_MS: '500',
      SHUTDOWN_DELAY_SECONDS: '5'
    }, join(this.folder, `${name}.log`))
    this.#ends.push(() => instance.end('SIGKILL'))
    await instance.start()
    return instance
  }

  /** @param keep whether the logs are still needed */
  async clear (keep: boolean): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end()
    if (!keep) await rm(this.folder, { recursive: true, force: true })
  }
}
