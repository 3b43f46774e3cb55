import pg from 'pg'
import { PostgresServer } from '../harness/postgres-server.ts'
import { measureBacklog } from './backlog.ts'
import { measureLostAnswers } from './lost-answers.ts'
import { measureOpenTasks, transactionsOf } from './postgres.ts'
import { compareThroughput } from './throughput.ts'
import { measureClients } from './waiting-clients.ts'
import { measureWaiting, measureWaitingTogether } from './prediction-polling.ts'

/**
 * Measures the service against a bare Fastify with the same routes, schemas and a Map, one after another on the same
 * cores. Absolute figures depend on the machine: the ratios are what counts. Ends by itself after about sixteen minutes;
 * an argument names the one part to measure.
 */
const parts = { throughput, backlog, waiting, lost, clients, postgres }
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
  print([await measureWaiting('sweeps', {}), await measureWaiting('a read for each', { REPLICATE_SWEEP_THRESHOLD: '1000000' })])
}

async function lost (): Promise<void> {
  print([await measureLostAnswers()])
}

async function clients (): Promise<void> {
  print(await measureClients())
}

async function postgres (): Promise<void> {
  const server = await PostgresServer.start()
  try {
    print(await compareThroughput(' on PostgreSQL', { DATABASE_URL: await database(server, 'throughput') }, { read: 0.4, create: 0.1 }))
    const shared = await database(server, 'waiting')
    print([await withClient(shared, (client) => measureWaitingTogether(shared, () => transactionsOf(client)))])
    const open = []
    for (const tasks of [1_000, 100_000]) {
      const url = await database(server, `open_${tasks}`)
      open.push(await withClient(url, (client) => measureOpenTasks(client, url, tasks)))
    }
    print(open)
  } finally {
    await server.stop()
  }
}

async function database (server: PostgresServer, name: string): Promise<string> {
  await withClient(server.url, (client) => client.query(`create database ${name}`))
  return server.url.replace(/[^/]+$/, name)
}

async function withClient<T> (connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function print (rows: Array<{ what: string }>): void {
  console.table(Object.fromEntries(rows.map(({ what, ...figures }) => [what, figures])))
}
