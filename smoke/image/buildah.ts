import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { execute, run } from './command.ts'
import { flags, type Container, type Engine, type ImageConfig } from './engine.ts'
import { fillStandIn } from './stand-in-base.ts'

/** Paths that the engine itself mounts or writes. */
const enginePaths = ['/dev', '/proc', '/run', '/sys', '/tmp', '/etc/hosts', '/etc/resolv.conf']

/**
 * Debian's buildah, run by root and without an engine, on a stand-in for the base image, so that no image is downloaded. Its
 * storage is a folder of its own, in which the stand-in is kept for the next run.
 */
export class Buildah implements Engine {
  readonly name = 'buildah, on a stand-in for the base image'
  readonly #storage = join(homedir(), '.cache', 'dreamreel-image')
  readonly #containers: string[] = []
  readonly #tags: string[] = []
  readonly #cleanups: Array<() => Promise<void>> = []
  readonly #standIn: string
  readonly #version: string

  /** @param version of Node in the base image */
  constructor (version: string) {
    this.#version = version
    this.#standIn = `localhost/dreamreel-stand-in:${version}`
  }

  async build (target: string, tag: string, args: Record<string, string>): Promise<void> {
    await mkdir(this.#storage, { recursive: true, mode: 0o700 })
    if ((await execute('buildah', this.#args('inspect', '--type', 'image', this.#standIn))).code !== 0) await this.#makeStandIn()
    this.#tags.push(tag)
    // The stand-in replaces the image of the first stage. The digest of the Dockerfile cannot be that of an image made here.
    await run('buildah', this.#args('bud', '--isolation', 'chroot', '--from', this.#standIn, '--pull-never', '--format', 'docker',
      '--target', target, '--tag', tag, ...flags('--build-arg', args), '.'))
  }

  async inspect (tag: string): Promise<ImageConfig> {
    return JSON.parse(await run('buildah', this.#args('inspect', '--type', 'image', tag))).Docker.config
  }

  async start (tag: string, env: Record<string, string>): Promise<Container> {
    const name = await this.#from(tag)
    const { Cmd: command } = await this.inspect(tag)
    const inside = (args: readonly string[], given: Record<string, string>) =>
      this.#args('run', '--isolation', 'chroot', ...flags('--env', given), name, '--', ...args)
    // The first command creates the folders of the engine.
    await run('buildah', inside(['true'], {}))
    const root = (await run('buildah', this.#args('mount', name))).trim()
    const markerFolder = await mkdtemp(join(tmpdir(), 'dreamreel-image-'))
    await writeFile(join(markerFolder, 'start'), '')
    const child = spawn('buildah', inside(command, env), { stdio: ['ignore', 'pipe', 'pipe'] })
    let log = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { log += text })
    const ended = once(child, 'close').then(([code]) => Number(code))
    const pid = async () => {
      const found = await findDescendant(Number(child.pid), command)
      if (found === undefined) throw new Error(`No process runs ${command.join(' ')}:\n${log}`)
      return found
    }
    this.#cleanups.push(async () => {
      if (child.exitCode === null) await pid().then((id) => process.kill(id, 'SIGKILL'), () => undefined)
      await ended
      await rm(markerFolder, { recursive: true })
    })
    return {
      pid,
      execute: (args, more = {}) => execute('buildah', inside(args, { ...env, ...more })),
      writtenPaths: async () => {
        const newer = await run('find', [root, '-xdev', '-newercm', join(markerFolder, 'start')])
        const paths = newer.split('\n').filter(Boolean).map((path) => path.slice(root.length) || '/')
        return paths.filter((path) => !enginePaths.some((enginePath) => path === enginePath || path.startsWith(`${enginePath}/`)))
      },
      signal: async (signal) => { process.kill(await pid(), signal) },
      ended: () => ended,
      log: async () => log
    }
  }

  async runOnce (tag: string, command: readonly string[]) {
    return await execute('buildah', this.#args('run', '--isolation', 'chroot', await this.#from(tag), '--', ...command))
  }

  async clear (): Promise<void> {
    for (const cleanUp of this.#cleanups.splice(0).reverse()) await cleanUp()
    for (const name of this.#containers.splice(0)) await run('buildah', this.#args('rm', name))
    for (const tag of this.#tags.splice(0)) await execute('buildah', this.#args('rmi', tag))
  }

  async #from (tag: string): Promise<string> {
    const name = (await run('buildah', this.#args('from', '--pull-never', tag))).trim()
    this.#containers.push(name)
    return name
  }

  async #makeStandIn (): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'dreamreel-base-'))
    try {
      const env = await fillStandIn(folder, this.#version)
      const name = (await run('buildah', this.#args('from', 'scratch'))).trim()
      this.#containers.push(name)
      await run('buildah', this.#args('copy', '--quiet', name, folder, '/'))
      await run('buildah', this.#args('config', ...flags('--env', env), name))
      await run('buildah', this.#args('commit', '--quiet', name, this.#standIn))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  #args (command: string, ...args: string[]): string[] {
    return ['--root', join(this.#storage, 'storage'), '--runroot', join(this.#storage, 'run'), '--storage-driver', 'vfs', command, ...args]
  }
}

/** Finds the descendant of a process with this command line; the path of the program may have a folder. */
async function findDescendant (pid: number, command: readonly string[]): Promise<number | undefined> {
  const [program, ...rest] = command
  for (const child of await childrenOf(pid)) {
    const [path = '', ...args] = (await readFile(`/proc/${child}/cmdline`, 'utf8')).split('\0').slice(0, -1)
    if (path.split('/').at(-1) === program && args.join('\0') === rest.join('\0')) return child
    const found = await findDescendant(child, command)
    if (found !== undefined) return found
  }
}

async function childrenOf (pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const lists = await Promise.all(threads.map((id) => readFile(`/proc/${pid}/task/${id}/children`, 'utf8').catch(() => '')))
  return lists.join(' ').split(/\s+/).filter(Boolean).map(Number)
}
