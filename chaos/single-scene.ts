import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { webhookEnv, type Scene, type SceneOptions } from './scene.ts'
import { ServiceLives } from './service-lives.ts'

/** One process at a time, on SQLite. */
export async function setSingle ({ plan, folder, log, tell, chances, env, webhookSecret }: SceneOptions): Promise<Scene> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const lives = new ServiceLives({
    url,
    log,
    tell,
    chance: chances.lives,
    nextEnv: () => ({
      ...env, PORT: String(port), DATA_DIR: join(folder, 'data'), ...webhookEnv(chances.env, () => url, webhookSecret)
    }),
    plan,
    nextDeck: () => plan.nextDeck(chances.lives),
    mayFailToStart: () => false
  })
  return { urls: [url], lives, clear: async () => {} }
}
