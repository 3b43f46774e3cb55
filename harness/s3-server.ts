import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from './free-port.ts'

const storageServers = ['account', 'container', 'object'] as const
const startTimeoutMs = 60_000
/** In the package of Debian, whose interpreter need not be the first `python3` on the path. */
const python = '/usr/bin/python3'
const swiftServers = fileURLToPath(new URL('swift-servers.py', import.meta.url))

/**
 * A real S3 server on 127.0.0.1: OpenStack Swift with its S3 interface, from Debian's packages `swift-proxy`, `swift-account`,
 * `swift-container`, `swift-object` and `memcached`. It verifies signatures, and speaks multipart uploads, ranges and signed addresses.
 */
export class S3Server {
  readonly folder: string
  readonly port: number
  #cachePort = 0
  #storagePorts: number[] = []
  #processes: Array<{ child: ChildProcess, closed: Promise<void> }> = []
  readonly credentials = { accessKeyId: 'test:tester', secretAccessKey: 'testing' }
  readonly region = 'us-east-1'

  private constructor (folder: string, port: number) {
    this.folder = folder
    this.port = port
  }

  get endpoint (): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Starts a server without buckets. */
  static async start (): Promise<S3Server> {
    const server = new S3Server(await mkdtemp(join(tmpdir(), 'dreamreel-s3-')), await freePort())
    try {
      await server.#start()
      return server
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  /** Stops all of its processes for a while: connections stay open, nothing answers. */
  freeze (): void {
    this.#signal('SIGSTOP')
  }

  thaw (): void {
    this.#signal('SIGCONT')
  }

  /** Kills all of its processes: connections break, and new ones are refused. Its data stay. */
  async halt (): Promise<void> {
    this.#signal('SIGKILL')
    await Promise.all(this.#processes.map(({ closed }) => closed))
    this.#processes = []
  }

  /** Starts it again with the same data and ports. */
  async resume (): Promise<void> {
    this.#spawn('memcached', ['-l', '127.0.0.1', '-p', String(this.#cachePort), '-u', 'root', '-m', '16'])
    this.#spawn(python, [swiftServers, this.folder, ...storageServers.map((name, index) => `${name}:${this.#storagePorts[index]}`)])
    await this.#untilAnswered(`${this.endpoint}/healthcheck`)
  }

  async stop (): Promise<void> {
    await this.halt()
    await rm(this.folder, { recursive: true, force: true })
  }

  async #start (): Promise<void> {
    const [cachePort, ...ports] = await Promise.all([freePort(), ...storageServers.map(() => freePort())])
    this.#cachePort = cachePort
    this.#storagePorts = ports
    await mkdir(join(this.folder, 'devices/d1'), { recursive: true })
    await Promise.all(storageServers.map((name, index) => writeFile(join(this.folder, `${name}.conf`), this.#storageSettings(name, ports[index]))))
    await writeFile(join(this.folder, 'proxy.conf'), this.#proxySettings())
    await this.resume()
  }

  /** In a process group of its own, so that one signal reaches the processes that it forks, too. */
  #spawn (command: string, args: string[]): void {
    // They end with this process, also where it is killed. The pipe closes when the last of them has ended.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], { cwd: this.folder, stdio: ['ignore', 'ignore', 'ignore', 'pipe'], detached: true })
    child.on('error', () => {})
    // The boundary: of its type only that it is a stream or missing.
    const pipe = child.stdio[3] as Readable | null | undefined
    pipe?.resume()
    this.#processes.push({ child, closed: once(child, 'close').then(() => undefined, () => undefined) })
  }

  #signal (name: NodeJS.Signals): void {
    for (const { child: { pid, exitCode, signalCode } } of this.#processes) {
      if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, name)
    }
  }

  /** Waits until the address is answered with any status. */
  async #untilAnswered (address: string): Promise<void> {
    const giveUpAt = performance.now() + startTimeoutMs
    for (;;) {
      const answer = await fetch(address).catch(() => undefined)
      await answer?.arrayBuffer()
      if (answer !== undefined) return
      const ended = this.#processes.find(({ child: { exitCode, pid } }) => exitCode !== null || pid === undefined)?.child
      if (ended !== undefined) throw new Error(`It has ended or cannot be started: ${ended.spawnargs.join(' ')}. Is OpenStack Swift installed?`)
      if (performance.now() > giveUpAt) throw new Error(`The S3 server has not answered within ${startTimeoutMs} ms`)
      await delay(50)
    }
  }

  #storageSettings (name: string, port: number | undefined): string {
    return `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${port}
workers = 0
user = root
devices = ${this.folder}/devices
mount_check = false
swift_dir = ${this.folder}
[pipeline:main]
pipeline = ${name}-server
[app:${name}-server]
use = egg:swift#${name}
recon_cache_path = ${this.folder}
`
  }

  #proxySettings (): string {
    return `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${this.port}
workers = 0
user = root
swift_dir = ${this.folder}
[pipeline:main]
pipeline = catch_errors healthcheck cache s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# Otherwise a storage server that has failed a few times is not asked for a minute.
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${this.#cachePort}
[filter:s3api]
use = egg:swift#s3api
location = ${this.region}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = ${this.credentials.secretAccessKey} .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
`
  }
}
