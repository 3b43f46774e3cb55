import { join } from 'node:path'
import type { Writable } from 'node:stream'
import type { Chance } from './seeded-random.ts'
import { InstanceClock } from './instance-clock.ts'
import type { Lives } from './process-supervisor.ts'
import type { Plan } from './plan.ts'

/** What the service, in either form, gets of the stage. */
export interface SceneOptions {
  plan: Plan
  /** for the data and whatever else is left for whoever looks at a failure */
  folder: string
  log: Writable
  /** Writes an event into the log. */
  tell: (event: string) => void
  chances: { lives: Chance, env: Chance }
  /** what does not depend on the form: `REPLICATE_API_URL` and the like */
  env: Record<string, string>
  webhookSecret: string
}

/** The service as the clients find it. */
export interface Scene {
  urls: [string, ...string[]]
  lives: Lives
  /** Removes what outlives the processes. @param keep whether what is in it may be needed */
  clear: (keep: boolean) => Promise<void>
}

/** Half of the lives are told by webhooks, at `publicUrl`; half of these have to fetch the secret first. */
export function webhookEnv (chance: Chance, publicUrl: () => string, secret: string): Record<string, string> {
  if (chance.happens(0.5)) return { REPLICATE_WEBHOOKS: 'off' }
  return { REPLICATE_WEBHOOKS: 'on', ...(chance.happens(0.5) && { REPLICATE_WEBHOOK_SECRET: secret }), PUBLIC_URL: publicUrl() }
}

/** @returns undefined where no clocks are to step, or none can */
export function instanceClock ({ plan, folder }: Pick<SceneOptions, 'plan' | 'folder'>, usualMs: number): InstanceClock | undefined {
  if (!plan.extras.has('clock-steps')) return undefined
  const clock = InstanceClock.find(join(folder, 'clock'), usualMs)
  if (clock === undefined) console.log('libfaketime is not on this machine: the clock of the service does not step')
  return clock
}
