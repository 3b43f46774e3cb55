import packageJson from '../package.json' with { type: 'json' }
import { NodeProcess, type NodeProcessOptions } from './node-process.ts'
import { until } from './until.ts'

/** Node's flags of `npm start` except for the file of settings: the settings of a developer must not reach a run. */
const nodeFlags = packageJson.scripts.start.split(' ').slice(1, -1).filter((flag) => !flag.startsWith('--env-file'))

export interface ServiceProcessOptions extends Omit<NodeProcessOptions, 'args'> {
  /** of Node, besides those of `npm start` */
  flags?: readonly string[]
}

/** The real service, `server.ts` with the flags of `npm start`, as a process of its own. Its settings are `env` and nothing else. */
export class ServiceProcess extends NodeProcess {
  constructor ({ flags = [], ...options }: ServiceProcessOptions) {
    super({ ...options, args: [...nodeFlags, ...flags, 'server.ts'] })
  }

  /** The address that the log names, for a service that was given port 0. */
  async listeningUrl (): Promise<string> {
    return await until(() => {
      const url = /listening at (http:[^"]+)/.exec(this.output())?.[1]
      if (url === undefined && this.hasEnded) throw new Error(`The service has ended: ${this.output()}`)
      return url
    }, 'the service to listen')
  }
}
