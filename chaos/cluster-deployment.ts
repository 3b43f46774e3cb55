import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../harness/free-port.ts'
import { queryPostgres } from '../harness/postgres-client.ts'
import { PostgresServer } from '../harness/postgres-server.ts'
import { ClusterSupervisor } from './cluster-supervisor.ts'
import { DatabaseFaults } from './database-faults.ts'
import { deliveryEnv, instanceClock, webhookEnv, type Deployment, type DeploymentOptions } from './deployment.ts'
import { InstanceSupervisor } from './instance-supervisor.ts'

/** Within the five minutes in which callbacks and webhooks are accepted. */
const maxOffsetMs = [-240_000, 240_000] as const

/**
 * Three instances on one PostgreSQL. With `clock-steps` the clock of the first one is wrong all the time. Webhooks go to any
 * of the instances, not only to the one that works on the task.
 */
export async function deployCluster ({ plan, folder, log, logEvent, randoms, env, webhookSecret }: DeploymentOptions): Promise<Deployment> {
  const ports = [await freePort(), await freePort(), await freePort()] as const
  const urls: [string, string, string] = [urlAt(ports[0]), urlAt(ports[1]), urlAt(ports[2])]
  const databaseRandom = randoms.supervisor.fork()
  const postgres = await PostgresServer.start()
  const database = new DatabaseFaults({ postgres, logEvent, random: databaseRandom })
  const firstOffsetMs = plan.extras.has('clock-steps') ? Math.round(databaseRandom.between(...maxOffsetMs)) : 0
  const instances = ports.map((port, index) => {
    const random = randoms.supervisor.fork()
    const envRandom = randoms.env.fork()
    const clock = index === 0 ? instanceClock({ plan, folder }, firstOffsetMs) : undefined
    return new InstanceSupervisor({
      url: urlAt(port),
      log,
      logEvent: (event) => logEvent(`${port}: ${event}`),
      random,
      nextEnv: () => ({
        ...env,
        PORT: String(port),
        DATABASE_URL: postgres.url,
        ...webhookEnv(envRandom, () => envRandom.pick(urls), webhookSecret),
        ...deliveryEnv(envRandom, plan)
      }),
      plan,
      clock: clock && { instance: clock, maxOffsetMs },
      nextFaults: () => plan.nextFaults(random, clock !== undefined),
      mayFailToStart: (startedAt) => database.hasOccurredSince(startedAt)
    })
  })
  return {
    urls,
    supervisor: new ClusterSupervisor({ instances, database, logEvent, random: databaseRandom }),
    clear: async (keep) => {
      if (keep) await saveTables(postgres, folder).catch(console.error)
      await postgres.stop()
    }
  }
}

function urlAt (port: number): string {
  return `http://127.0.0.1:${port}`
}

/** Keeps the rows of the tables that explain a failure, because the folder of the database is removed. */
async function saveTables (postgres: PostgresServer, folder: string): Promise<void> {
  for (const table of ['task', 'pgboss.job']) {
    const rows = await queryPostgres(postgres.url, `select to_jsonb(saved) saved from ${table} saved`)
    await writeFile(join(folder, `${table}.jsonl`), rows.map(({ saved }) => `${JSON.stringify(saved)}\n`))
  }
}
