import { execute, run } from './command.ts'
import { flags, type Container, type Engine, type ImageConfig } from './engine.ts'

/** Docker, for machines on which its engine answers. */
export class Docker implements Engine {
  readonly name = 'docker'
  readonly #containers: string[] = []
  readonly #tags: string[] = []

  static async answers (): Promise<boolean> {
    return await execute('docker', ['info']).then(({ code }) => code === 0, () => false)
  }

  async build (target: string, tag: string, args: Record<string, string>): Promise<void> {
    this.#tags.push(tag)
    await run('docker', ['build', '--target', target, '--tag', tag, ...flags('--build-arg', args), '.'])
  }

  async inspect (tag: string): Promise<ImageConfig> {
    return JSON.parse(await run('docker', ['image', 'inspect', '--format', '{{json .Config}}', tag]))
  }

  async start (tag: string, env: Record<string, string>): Promise<Container> {
    const hardened = ['--tmpfs', '/tmp', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges:true']
    const id = (await run('docker', ['run', '--detach', '--network', 'host', ...hardened, ...flags('--env', env), tag])).trim()
    this.#containers.push(id)
    return {
      pid: async () => Number(await run('docker', ['inspect', '--format', '{{.State.Pid}}', id])),
      execute: (command, more = {}) => execute('docker', ['exec', ...flags('--env', more), id, ...command]),
      writtenPaths: async () => (await run('docker', ['diff', id])).split('\n').filter(Boolean),
      signal: async (name) => { await run('docker', ['kill', '--signal', name, id]) },
      ended: async () => Number(await run('docker', ['wait', id])),
      log: () => run('docker', ['logs', id])
    }
  }

  runOnce (tag: string, command: readonly string[]) {
    return execute('docker', ['run', '--rm', '--network', 'none', tag, ...command])
  }

  async clear (): Promise<void> {
    for (const id of this.#containers.splice(0)) await run('docker', ['rm', '--force', '--volumes', id])
    for (const tag of this.#tags.splice(0)) await execute('docker', ['image', 'rm', tag])
  }
}
