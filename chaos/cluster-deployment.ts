import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Cluster } from './cluster-supervisor.ts'
import { ask, DatabaseTrouble } from './database-faults.ts'
import { freePort } from '../harness/free-port.ts'
import { PostgresServer } from '../harness/postgres-server.ts'
import { instanceClock, webhookEnv, type Scene, type SceneOptions } from './deployment.ts'
import { ServiceLives } from './instance-supervisor.ts'

/** Within the five minutes in which callbacks and webhooks are believed. */
const farthestClock = [-240_000, 240_000] as const

/** Three instances on one PostgreSQL; with `clock-steps` the clock of the first is wrong all the time. A webhook goes to any of them, whichever works on the task. */
export async function setCluster ({ plan, folder, log, tell, chances, env, webhookSecret }: SceneOptions): Promise<Scene> {
  const ports = [await freePort(), await freePort(), await freePort()] as const
  const urls: [string, string, string] = [urlOf(ports[0]), urlOf(ports[1]), urlOf(ports[2])]
  const databaseChance = chances.lives.fork()
  const postgres = await PostgresServer.start()
  const database = new DatabaseTrouble({ postgres, tell, chance: databaseChance })
  const firstClockMs = plan.extras.has('clock-steps') ? Math.round(databaseChance.between(...farthestClock)) : 0
  const instances = ports.map((port, index) => {
    const chance = chances.lives.fork()
    const envChance = chances.env.fork()
    const clock = index === 0 ? instanceClock({ plan, folder }, firstClockMs) : undefined
    return new ServiceLives({
      url: urlOf(port),
      log,
      tell: (event) => tell(`${port}: ${event}`),
      chance,
      nextEnv: () => ({
        ...env, PORT: String(port), DATABASE_URL: postgres.url, ...webhookEnv(envChance, () => envChance.pick(urls), webhookSecret)
      }),
      plan,
      clock: clock && { instance: clock, farthest: farthestClock },
      nextDeck: () => plan.nextDeck(chance, clock !== undefined),
      mayFailToStart: (startedAt) => database.hasBeenSince(startedAt)
    })
  })
  return {
    urls,
    lives: new Cluster({ instances, database, tell, chance: databaseChance }),
    clear: async (keep) => {
      if (keep) await keepTables(postgres, folder).catch(console.error)
      await postgres.stop()
    }
  }
}

function urlOf (port: number): string {
  return `http://127.0.0.1:${port}`
}

/** What stays of the database when its folder is gone. */
async function keepTables (postgres: PostgresServer, folder: string): Promise<void> {
  for (const table of ['task', 'pgboss.job']) {
    const rows = await ask(postgres, `select to_jsonb(kept) kept from ${table} kept`)
    await writeFile(join(folder, `${table}.jsonl`), rows.map(({ kept }) => `${JSON.stringify(kept)}\n`))
  }
}
