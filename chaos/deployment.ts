import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { InstanceClock } from './instance-clock.ts'
import type { Plan } from './plan.ts'
import type { ProcessSupervisor } from './process-supervisor.ts'
import type { SeededRandom } from './seeded-random.ts'

/** What both deployments of the service need: one process on SQLite, and a cluster on PostgreSQL. */
export interface DeploymentOptions {
  plan: Plan
  /** for the data and for what helps to understand a failure */
  folder: string
  log: Writable
  /** writes an event into the log */
  logEvent: (event: string) => void
  randoms: { supervisor: SeededRandom, env: SeededRandom }
  /** the settings that are the same for both, such as `REPLICATE_API_URL`, and where the data are */
  env: Record<string, string>
  webhookSecret: string
}

/** The service under test. */
export interface Deployment {
  urls: [string, ...string[]]
  supervisor: ProcessSupervisor
  /** Removes what outlives the processes. @param keep whether its contents may still be needed */
  clear: (keep: boolean) => Promise<void>
}

/** Half of the processes use webhooks, at `publicUrl`; half of these have to fetch the secret first. */
export function webhookEnv (random: SeededRandom, publicUrl: () => string, secret: string): Record<string, string> {
  if (random.happens(0.5)) return { REPLICATE_WEBHOOKS: 'off' }
  return { REPLICATE_WEBHOOKS: 'on', ...(random.happens(0.5) && { REPLICATE_WEBHOOK_SECRET: secret }), PUBLIC_URL: publicUrl() }
}

/** Half of the processes send clients to the bucket, if there is one. */
export function deliveryEnv (random: SeededRandom, { archive }: Plan): Record<string, string> {
  return archive === 's3' && random.happens(0.5) ? { VIDEO_DELIVERY: 'redirect' } : {}
}

/** @returns undefined if the clocks of a run are not to step, or if this machine cannot do it */
export function instanceClock ({ plan, folder }: Pick<DeploymentOptions, 'plan' | 'folder'>, baseOffsetMs: number): InstanceClock | undefined {
  if (!plan.extras.has('clock-steps')) return undefined
  const clock = InstanceClock.find(join(folder, 'clock'), baseOffsetMs)
  if (clock === undefined) console.log('libfaketime is not on this machine: the clock of the service does not step')
  return clock
}
