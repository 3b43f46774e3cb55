import { createPostgresDatabase, withPostgres } from '../harness/postgres-client.ts'
import { PostgresServer } from '../harness/postgres-server.ts'
import { measureBacklog } from './backlog.ts'
import { measureLostAnswers } from './lost-answers.ts'
import { measureMetrics } from './metrics.ts'
import { measureOpenTasks, transactionsOf } from './postgres.ts'
import { measurePolling, measureSharedPolling } from './prediction-polling.ts'
import { compareThroughput } from './throughput.ts'
import { measureCopying, measureServing } from './videos.ts'
import { measureClients } from './waiting-clients.ts'

/**
 * Measures the service and compares it with a bare Fastify that has the same routes and schemas and keeps its tasks in a
 * Map, one after the other on the same cores. Absolute figures depend on the machine; the ratios do not. It ends by itself
 * after about twenty minutes. An argument names the only part to measure.
 */
const parts = { throughput, backlog, waiting, lost, clients, videos, metrics, postgres }
const [chosen] = process.argv.slice(2)
if (chosen !== undefined && !(chosen in parts)) throw new Error(`The parts are ${Object.keys(parts).join(', ')}`)
for (const [name, measure] of Object.entries(parts)) if (chosen === undefined || chosen === name) await measure()

async function throughput (): Promise<void> {
  print(await compareThroughput('', {}, { read: 0.8, create: 0.25 }))
}

async function backlog (): Promise<void> {
  print(await measureBacklog())
}

async function waiting (): Promise<void> {
  print([await measurePolling('sweeps', {}), await measurePolling('a read for each', { REPLICATE_SWEEP_THRESHOLD: '1000000' })])
}

async function lost (): Promise<void> {
  print([await measureLostAnswers()])
}

async function clients (): Promise<void> {
  print(await measureClients())
}

async function videos (): Promise<void> {
  print([...await measureServing(), ...await measureCopying()])
}

async function metrics (): Promise<void> {
  print(await measureMetrics())
}

async function postgres (): Promise<void> {
  const server = await PostgresServer.start()
  try {
    print(await compareThroughput(' on PostgreSQL', { DATABASE_URL: await createPostgresDatabase(server.url, 'throughput') }, { read: 0.4, create: 0.1 }))
    const shared = await createPostgresDatabase(server.url, 'waiting')
    print([await withPostgres(shared, (client) => measureSharedPolling(shared, () => transactionsOf(client)))])
    const open = []
    for (const tasks of [1_000, 100_000]) {
      const url = await createPostgresDatabase(server.url, `open_${tasks}`)
      open.push(await withPostgres(url, (client) => measureOpenTasks(client, url, tasks)))
    }
    print(open)
  } finally {
    await server.stop()
  }
}

function print (rows: Array<{ what: string }>): void {
  console.table(Object.fromEntries(rows.map(({ what, ...figures }) => [what, figures])))
}
