import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const configuration = new URL('../../deploy/nginx.conf', import.meta.url)
/** Folders for bodies that do not fit into memory; those that are compiled in need root. */
const temporaryPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/** The members of a line of the access log that the verdict needs. */
export interface AccessLine { method: string, path: string, status: string, request_id: string, upstream: string, upstream_status: string }

/** The machine's nginx with `deploy/nginx.conf`; its files are in a folder of the run. */
export class Nginx {
  readonly folder: string
  readonly url: string
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #hasEnded = false
  /** Why it could not be started, for example because the machine has no nginx. */
  #startError: Error | undefined

  /**
   * @param folder of everything that nginx writes
   * @param ports of the instances, in the order of the configuration
   */
  static async start (folder: string, port: number, ports: readonly number[]): Promise<Nginx> {
    await mkdir(folder)
    // If root starts it, its workers run as a user without any rights.
    await chmod(folder, 0o755)
    await writeFile(join(folder, 'nginx.conf'), withAddresses(await readFile(configuration, 'utf8'), port, ports))
    const nginx = new Nginx(folder, port)
    while (!await isAnswering(nginx.url)) {
      if (nginx.#hasEnded) throw new Error(`nginx does not start: ${nginx.#startError ?? await readFile(nginx.#errorLog, 'utf8')}`)
      await delay(20)
    }
    return nginx
  }

  private constructor (folder: string, port: number) {
    this.folder = folder
    this.url = `http://127.0.0.1:${port}`
    // Files instead of pipes: nginx opens /dev/stdout by its name, and Node's pipes are sockets, which cannot be opened.
    const [access, error] = [openSync(this.#accessLog, 'a'), openSync(this.#errorLog, 'a')]
    this.#child = spawn('nginx', [
      '-p', folder, '-c', 'nginx.conf', '-e', 'stderr', '-g', `daemon off; pid ${join(folder, 'nginx.pid')};`
    // Debian installs it into a folder that is only on root's PATH.
    ], { env: { PATH: `${process.env.PATH}:/usr/sbin` }, stdio: ['ignore', access, error] })
    for (const file of [access, error]) closeSync(file)
    this.#ended = once(this.#child, 'exit')
      .catch((error: Error) => { this.#startError = error })
      .then(() => { this.#hasEnded = true })
  }

  async accessLines (): Promise<AccessLine[]> {
    const lines = (await readFile(this.#accessLog, 'utf8')).split('\n').filter(Boolean)
    return lines.map((line) => JSON.parse(line))
  }

  async stop (): Promise<void> {
    // SIGTERM closes at once; SIGQUIT would wait for idle connections; after a SIGKILL the workers would go on.
    this.#child.kill('SIGTERM')
    await this.#ended
  }

  get #accessLog (): string {
    return join(this.folder, 'access.log')
  }

  get #errorLog (): string {
    return join(this.folder, 'error.log')
  }
}

/** The shipped configuration with other addresses, ports instead of Docker's names, and folders for temporary files. */
function withAddresses (shipped: string, port: number, ports: readonly number[]): string {
  const folders = temporaryPaths.map((name) => `${name}_temp_path ${name};`).join(' ')
  const changes: Array<[RegExp, string]> = [
    [/^http \{$/gm, `http { ${folders}`],
    [/listen 80 /g, `listen 127.0.0.1:${port} `],
    ...ports.map((instance, index): [RegExp, string] => [
      new RegExp(`server dreamreel-${index + 1}:3000 resolve `, 'g'), `server 127.0.0.1:${instance} `
    ])
  ]
  return changes.reduce((text, [from, to]) => {
    if (text.match(from)?.length !== 1) throw new Error(`deploy/nginx.conf does not have ${from.source} exactly once`)
    return text.replace(from, to)
  }, shipped)
}

function isAnswering (url: string): Promise<boolean> {
  return fetch(`${url}/livez`, { signal: AbortSignal.timeout(1_000) }).then(({ ok }) => ok, () => false)
}
