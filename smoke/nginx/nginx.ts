import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const configuration = new URL('../../deploy/nginx.conf', import.meta.url)
/** Where nginx puts bodies that do not fit into memory; the compiled-in places need root. */
const temporaryPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/** One line of the access log, in the members that are judged. */
export interface AccessLine { method: string, path: string, status: string, upstream: string, upstream_status: string }

/** The machine's nginx, with `deploy/nginx.conf` and nothing of its own but a folder. */
export class Nginx {
  readonly folder: string
  readonly url: string
  readonly #child: ChildProcess
  readonly #over: Promise<void>
  #isOver = false
  /** Why it could not be started: the machine has none, for example. */
  #fault: Error | undefined

  /**
   * @param folder for everything that it writes; nginx creates nothing elsewhere
   * @param ports of the instances, in the order of the configuration
   */
  static async start (folder: string, port: number, ports: readonly number[]): Promise<Nginx> {
    await mkdir(folder)
    // Started by root it hands its work to a user without any rights.
    await chmod(folder, 0o755)
    await writeFile(join(folder, 'nginx.conf'), withAddresses(await readFile(configuration, 'utf8'), port, ports))
    const nginx = new Nginx(folder, port)
    while (!await isAnswering(nginx.url)) {
      if (nginx.#isOver) throw new Error(`nginx does not start: ${nginx.#fault ?? await readFile(nginx.#errorLog, 'utf8')}`)
      await delay(20)
    }
    return nginx
  }

  private constructor (folder: string, port: number) {
    this.folder = folder
    this.url = `http://127.0.0.1:${port}`
    // Files, because nginx opens /dev/stdout by its name, and a pipe of Node's is a socket, which cannot be opened.
    const [access, error] = [openSync(this.#accessLog, 'a'), openSync(this.#errorLog, 'a')]
    this.#child = spawn('nginx', [
      '-p', folder, '-c', 'nginx.conf', '-e', 'stderr', '-g', `daemon off; pid ${join(folder, 'nginx.pid')};`
    // Debian has it where only root looks for programs.
    ], { env: { PATH: `${process.env.PATH}:/usr/sbin` }, stdio: ['ignore', access, error] })
    for (const file of [access, error]) closeSync(file)
    this.#over = once(this.#child, 'exit')
      .catch((fault: Error) => { this.#fault = fault })
      .then(() => { this.#isOver = true })
  }

  async accessLines (): Promise<AccessLine[]> {
    const lines = (await readFile(this.#accessLog, 'utf8')).split('\n').filter(Boolean)
    return lines.map((line) => JSON.parse(line))
  }

  async stop (): Promise<void> {
    // SIGTERM closes at once, SIGQUIT would wait for idle connections. Never SIGKILL: the workers would live on.
    this.#child.kill('SIGTERM')
    await this.#over
  }

  get #accessLog (): string {
    return join(this.folder, 'access.log')
  }

  get #errorLog (): string {
    return join(this.folder, 'error.log')
  }
}

/** The configuration as it is shipped, but for the addresses, Docker's names and the folders. */
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
