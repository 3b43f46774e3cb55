import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { readConfig } from '../../config.ts'
import { closedPort } from '../../harness/listen.ts'
import { PostgresServer } from '../../harness/postgres-server.ts'
import { until } from '../../harness/until.ts'
import { databaseAddress } from '../../services/store/database-address.ts'
import { createPostgresTaskStore } from '../../services/store/postgres/postgres-task-store.ts'
import { matchList } from '../support/match-list.ts'
import { runService } from '../support/running-service.ts'
import { answer, startScriptedServer } from '../support/scripted-server.ts'

const password = 'a-secret-word'

t.test('the start waits for an unavailable database, and ends with a sentence that names it', async (t) => {
  const port = await closedPort()
  const service = await runService(t, { DATABASE_URL: `postgres://dreamer:${password}@127.0.0.1:${port}/dreams` })
  const { code, output } = await service.end()
  t.equal(code, 1)
  const lines = output.trim().split('\n')
  const said = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
  matchList(t, said, [
    { level: 30, database: `127.0.0.1:${port}/dreams`, msg: 'Waiting for the database' },
    { level: 40, database: `127.0.0.1:${port}/dreams`, reason: /ECONNREFUSED/, msg: 'The database cannot be used yet' }
  ])
  t.equal(lines.length, said.length + 1)
  t.match(lines.at(-1), /^DATABASE_URL cannot be used: 127\.0\.0\.1:\d+\/dreams could not be used within \d+ s \(.*ECONNREFUSED.*\)$/)
  t.notMatch(output, password)
})

t.test('a start that waits for its database ends at once at a signal', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const service = await runService(t, { DATABASE_URL: `postgres://dreamer:x@127.0.0.1:${await closedPort()}/dreams` })
    await until(() => service.output().includes('cannot be used yet') || undefined, 'the wait for the database')
    const { code, output } = await service.end(signal)
    t.equal(code, 0)
    t.notMatch(output, 'could not be used within')
  }
})

t.test('an unknown host name and a server that is not PostgreSQL have different messages', async (t) => {
  t.match(await faultOf(`postgres://u:${password}@database.invalid/dreams`), /^DATABASE_URL cannot be used: database\.invalid\/dreams could not be used .*database\.invalid/)
  const web = await startScriptedServer(t, () => {}, (socket) => socket.once('data', () => socket.end(answer(400))))
  t.match(await faultOf(`postgres://u:${password}@127.0.0.1:${web.port}/dreams`), /may not be a PostgreSQL server/)
})

t.test('a fault that waiting cannot fix ends the start at once', async (t) => {
  const { address, query } = await startLockedPostgres(t)
  await query(`create role dreamer login password '${password}'`)
  await query('create database dreams')
  const cases: Array<[string, RegExp]> = [
    [address('dreamer:wrong', 'dreams'), /:\d+\/dreams refuses the user or the password \(.*"dreamer"\)$/],
    [address('dreamer', 'dreams'), /:\d+\/dreams asks for a password/],
    [address('stranger:x', 'dreams'), /:\d+\/dreams refuses the user or the password/],
    [address('intruder:x', 'dreams'), /:\d+\/dreams does not accept this user from this address/],
    [address(`dreamer:${password}`, 'nightmares'), /:\d+\/nightmares has no such database: create it first \(.*"nightmares"/],
    [address(`dreamer:${password}`, 'dreams'), /:\d+\/dreams does not allow this user to create what the service needs/]
  ]
  for (const [databaseUrl, message] of cases) {
    // With a timeout that no test would wait for.
    const fault = await faultOf(databaseUrl, 3_600_000)
    t.match(fault, message)
    t.notMatch(fault, password)
  }
})

t.test('a database is logged without user and password, however its address is written', async (t) => {
  t.equal(databaseAddress('postgres://u:p%40x@db.example.com/dreams'), 'db.example.com/dreams')
  t.equal(databaseAddress('postgres://u:p@[::1]:5433/dreams?sslmode=require&password=other'), '[::1]:5433/dreams')
  t.equal(databaseAddress('postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/dreams'), '/var/run/postgresql/dreams')
  t.equal(databaseAddress('postgres://u:p@/dreams?host=/run/postgresql'), 'the database of DATABASE_URL')
})

t.test('a password that could be mistaken for the host or the name is a fault of the configuration', async (t) => {
  const read = (DATABASE_URL: string) => readConfig({ REPLICATE_API_TOKEN: 'x', DATABASE_URL })
  for (const part of ['12#34', '12/34', '12?34']) {
    t.throws(() => read(`postgres://dreamer:${part}@db/dreams`), { message: /^[^4]*DATABASE_URL must be [^4]*5432[^4]*percent-encoded$/ })
  }
  for (const address of ['postgres://u:1%2F2@db:5432/dreams?sslmode=require', 'postgresql://db', 'postgres://u@%2Frun%2Fpostgresql/dreams', 'postgres:///dreams?host=/run/postgresql']) {
    t.equal(read(address).DATABASE_URL, address)
  }
})

async function faultOf (databaseUrl: string, startTimeoutMs = 300): Promise<string> {
  const silent = () => {}
  const log = { debug: silent, info: silent, warn: silent, error: silent }
  const store = await createPostgresTaskStore({ databaseUrl, now: Date.now, log, startTimeoutMs }).catch((error: unknown) => error)
  return store instanceof Error && store.name === 'StartError' ? store.message : `no StartError but ${store}`
}

/** A PostgreSQL that accepts its owner without a password, refuses `intruder`, and asks others for a password. */
async function startLockedPostgres (t: Test) {
  const postgres = await PostgresServer.start()
  t.teardown(() => postgres.stop())
  const rules = join(postgres.folder, 'data/pg_hba.conf')
  const owner = new pg.Client({ connectionString: postgres.url })
  await owner.connect()
  t.teardown(() => owner.end())
  await writeFile(rules, `host all intruder all reject\nhost all dreamer,stranger all scram-sha-256\n${await readFile(rules, 'utf8')}`)
  await owner.query('select pg_reload_conf()')
  const address = (user: string, database: string) => `postgres://${user}@127.0.0.1:${postgres.port}/${database}`
  return { address, query: (text: string) => owner.query(text) }
}
