import t, { type Test } from 'tap'
import { queryPostgres } from '../../../harness/postgres-client.ts'
import { until } from '../../../harness/until.ts'
import { openPostgres } from '../../../services/store/postgres/postgres-database.ts'
import { PostgresMaintenance } from '../../../services/store/postgres/postgres-maintenance.ts'
import { PostgresWindowCounter } from '../../../services/store/postgres/postgres-window-counter.ts'
import { createDatabase } from '../../support/postgres.ts'
import { startSilentProxy } from '../../support/silent-proxy.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }
const minute = 60_000

async function start (t: Test) {
  const databaseUrl = await createDatabase(t)
  const proxy = await startSilentProxy(t, Number(new URL(databaseUrl).port))
  const proxied = new URL(databaseUrl)
  proxied.port = String(proxy.port)
  const database = await openPostgres({ databaseUrl: proxied.href, log })
  t.teardown(() => database.close())
  const query = (text: string) => queryPostgres(databaseUrl, text)
  return { database, counter: new PostgresWindowCounter(database), query, proxy }
}

t.test('a window counts until its end, by the clock of the database', async (t) => {
  const { counter, query } = await start(t)
  t.equal((await counter.add('a', 2, minute)).points, 2)
  const { points, resetMs } = await counter.add('a', 3, minute)
  t.equal(points, 5)
  t.ok(resetMs > 0 && resetMs <= minute, `${resetMs} ms`)
  t.equal((await counter.add('b', 1, minute)).points, 1)
  await query("update request_count set ends_at = now() where key = 'a'")
  t.equal((await counter.add('a', 4, minute)).points, 4, 'the window is over')
  await query("update request_count set ends_at = now() + interval '1 hour' where key = 'a'")
  const afterJump = await counter.add('a', 1, minute)
  t.equal(afterJump.points, 1, 'the clock was set back')
  t.ok(afterJump.resetMs <= minute)
})

t.test('no addition is lost when many arrive at once', async (t) => {
  const { counter } = await start(t)
  const counts = await Promise.all(Array.from({ length: 30 }, () => counter.add('a', 1, minute)))
  t.same(counts.map(({ points }) => points).toSorted((a, b) => a - b), Array.from({ length: 30 }, (_, index) => index + 1))
})

t.test('windows that are over are deleted', async (t) => {
  const { counter, query, database } = await start(t)
  await counter.add('ended', 1, minute)
  await counter.add('current', 1, minute)
  await query("update request_count set ends_at = now() where key = 'ended'")
  const maintenance = new PostgresMaintenance({ database, now: Date.now, log, intervalMs: 20 })
  await until(async () => (await query('select key from request_count')).length === 1 || undefined, 'the deletion')
  maintenance.stop()
  await maintenance.drain()
  t.same(await query('select key from request_count'), [{ key: 'current' }])
})

t.test('a database that does not answer is not asked again for each request', async (t) => {
  const { counter, proxy } = await start(t)
  await counter.add('a', 1, minute)
  proxy.silence(true)
  await t.rejects(counter.add('a', 1, minute), { name: 'StoreUnavailableError' })
  await t.rejects(counter.add('a', 1, minute), { message: 'The last query of the requests of all instances has failed' })
  proxy.silence(false)
})
