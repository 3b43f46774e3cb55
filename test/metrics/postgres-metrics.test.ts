import t from 'tap'
import { scrape } from '../../harness/scrape.ts'
import { metricsUrl, promtool, scrapeUntil, withPromtool } from '../support/metrics.ts'
import { createDatabase } from '../support/postgres.ts'
import { ended, postDream, startService } from '../support/service.ts'
import { startSilentProxy } from '../support/silent-proxy.ts'

t.test('with PostgreSQL the scrape has its connections, and open tasks of all instances', async (t) => {
  const databaseUrl = await createDatabase(t)
  const env = { METRICS_PORT: '0', DATABASE_URL: databaseUrl }
  const { app } = await startService(t, { env, emulator: { generationMs: 600_000 } })
  await postDream(app, 'A whale', 'Animated')
  const { app: other } = await startService(t, { env: { ...env, MAX_IN_FLIGHT: '1' } })
  const scraped = await scrapeUntil(other, (scraped) => scraped.value('dreamreel_open_tasks', { state: 'generating', style: 'Animated' }) === 1, 'the task of the other instance')
  t.ok(scraped.value('dreamreel_oldest_open_task_age_seconds') > 0)
  t.equal(scraped.value('dreamreel_postgres_connections_max'), 10)
  t.ok(scraped.value('dreamreel_postgres_connections') >= 1)
  await scrapeUntil(other, (scraped) => scraped.value('dreamreel_postgres_waiting_queries') === 0, 'no query to wait')
  if (withPromtool.skip === false) t.equal(await promtool(['check', 'metrics'], scraped.text), '')
})

t.test('what happens to tasks is counted with PostgreSQL, too', async (t) => {
  const { app } = await startService(t, { env: { METRICS_PORT: '0', DATABASE_URL: await createDatabase(t) } })
  await ended(app, await postDream(app))
  const idempotent = { method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' }, headers: { 'idempotency-key': 'a-key' } } as const
  await ended(app, (await app.inject(idempotent)).json().task_id)
  t.equal((await app.inject(idempotent)).headers['idempotency-replayed'], 'true')
  const scraped = await scrapeUntil(app, (scraped) => scraped.value('dreamreel_tasks_ended_total', { result: 'completed' }) === 2, 'both ends')
  t.equal(scraped.value('dreamreel_tasks_created_total'), 2)
  t.equal(scraped.value('dreamreel_task_transitions_total', { transition: 'complete' }), 2)
})

t.test('a scrape succeeds while the database does not answer, and says so', async (t) => {
  const databaseUrl = new URL(await createDatabase(t))
  const proxy = await startSilentProxy(t, Number(databaseUrl.port))
  databaseUrl.port = String(proxy.port)
  const { app } = await startService(t, { env: { METRICS_PORT: '0', DATABASE_URL: databaseUrl.href } })
  t.equal((await scrape(metricsUrl(app))).value('dreamreel_store_up'), 1)
  proxy.silence(true)
  const silent = await scrapeUntil(app, (scraped) => scraped.value('dreamreel_store_up') === 0, 'the outage to be seen')
  t.same(silent.samples('dreamreel_open_tasks'), [], 'no figure is better than an old one')
  t.same(silent.samples('dreamreel_oldest_open_task_age_seconds'), [])
  t.ok(silent.value('process_cpu_seconds_total') > 0)
  proxy.silence(false)
  await scrapeUntil(app, (scraped) => scraped.value('dreamreel_store_up') === 1, 'the database to answer again')
})
