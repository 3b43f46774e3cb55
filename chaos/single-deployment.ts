import { join } from 'node:path'
import { freePort } from '../harness/free-port.ts'
import { instanceClock, webhookEnv, type Scene, type SceneOptions } from './deployment.ts'
import { ServiceLives } from './instance-supervisor.ts'

/** Only ahead: what was written while the clock was behind would be past its deadline when the next process reads it. */
const farthestClock = [60_000, 240_000] as const

/** One process at a time, on SQLite. */
export async function setSingle ({ plan, folder, log, tell, chances, env, webhookSecret }: SceneOptions): Promise<Scene> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const clock = instanceClock({ plan, folder }, 0)
  const lives = new ServiceLives({
    url,
    log,
    tell,
    chance: chances.lives,
    nextEnv: () => ({
      ...env, PORT: String(port), DATA_DIR: join(folder, 'data'), ...webhookEnv(chances.env, () => url, webhookSecret)
    }),
    plan,
    clock: clock && { instance: clock, farthest: farthestClock },
    nextDeck: () => plan.nextDeck(chances.lives, clock !== undefined),
    mayFailToStart: () => false
  })
  return { urls: [url], lives, clear: async () => {} }
}
