import { freePort } from '../harness/free-port.ts'
import { deliveryEnv, instanceClock, webhookEnv, type Deployment, type DeploymentOptions } from './deployment.ts'
import { InstanceSupervisor } from './instance-supervisor.ts'

/** Ahead only: tasks that are written while the clock is behind would be past their deadline for the next process. */
const maxOffsetMs = [60_000, 240_000] as const

/** One process at a time, on SQLite. */
export async function deploySingle ({ plan, folder, log, logEvent, randoms, env, webhookSecret }: DeploymentOptions): Promise<Deployment> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const clock = instanceClock({ plan, folder }, 0)
  const supervisor = new InstanceSupervisor({
    url,
    log,
    logEvent,
    random: randoms.supervisor,
    nextEnv: () => ({
      ...env, PORT: String(port), ...webhookEnv(randoms.env, () => url, webhookSecret), ...deliveryEnv(randoms.env, plan)
    }),
    plan,
    clock: clock && { instance: clock, maxOffsetMs },
    nextFaults: () => plan.nextFaults(randoms.supervisor, clock !== undefined),
    mayFailToStart: () => false
  })
  return { urls: [url], supervisor, clear: async () => {} }
}
