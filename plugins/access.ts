import fp from 'fastify-plugin'
import { AccessControl, type Caller } from '../services/access/access-control.ts'
import { parseKeyEntries, type KeyEntry } from '../services/access/key-entries.ts'
import { KeyRing } from '../services/access/key-ring.ts'
import { KeysFile } from '../services/access/keys-file.ts'
import { StartError } from '../services/runtime/start-error.ts'

declare module 'fastify' {
  interface FastifyInstance {
    accessControl: AccessControl
  }
  interface FastifyRequest {
    /** Who sends the request; null until the `onRequest` hook of its scope has admitted it, and outside of such a scope. */
    caller: Caller | null
  }
}

export interface AccessPluginOptions {
  /** the file of the API keys; undefined if there is none */
  keysFile: string | undefined
  /** the list of API keys as JSON; undefined if there is none. Without both the service is open */
  keys: string | undefined
  /** whether the service listens on a loopback address, so that only programs on this machine reach it */
  isLoopbackOnly: boolean
}

const fileIntervalMs = 1_000

/** Decorates the instance with the service that knows the API keys. Scopes with `requireCaller` ask it for each request. */
export default fp<AccessPluginOptions>(async (app, { keysFile, keys, isLoopbackOnly }) => {
  const entries = keysFile === undefined ? keys === undefined ? null : parse(keys) : await followFile(keysFile)
  if (entries !== null) warnOfLimits(entries)
  const accessControl = new AccessControl({ keys: entries && new KeyRing(entries), isLoopbackOnly, now: Date.now })
  app.decorate('accessControl', accessControl)
  app.decorateRequest('caller', null)

  async function followFile (path: string): Promise<KeyEntry[]> {
    const onEntries = (entries: KeyEntry[]) => {
      accessControl.replaceKeys(new KeyRing(entries))
      warnOfLimits(entries)
    }
    const file = new KeysFile({ path, intervalMs: fileIntervalMs, onEntries, log: app.log })
    const entries = await file.load()
    app.addHook('onReady', async () => file.watch())
    app.addHook('onClose', async () => file.stop())
    return entries
  }

  function warnOfLimits (entries: KeyEntry[]): void {
    const names = entries.filter(({ limits: { monthlyBudget } }) => monthlyBudget !== null).map(({ name }) => name)
    if (names.length > 0) app.log.warn({ names: [...new Set(names)] }, 'The limit monthly_budget of API keys does not limit anything yet')
  }
}, { name: 'access' })

/** `config.ts` reports the faults before. */
function parse (keys: string): KeyEntry[] {
  const parsed = parseKeyEntries(keys)
  if (!parsed.ok) throw new StartError(['API_KEYS cannot be used:', ...parsed.faults].join('\n'))
  return parsed.entries
}
