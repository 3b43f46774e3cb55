import t from 'tap'
import { queryPostgres } from '../../../harness/postgres-client.ts'
import { until } from '../../../harness/until.ts'
import { openPostgres } from '../../../services/store/postgres/postgres-database.ts'
import { PostgresMaintenance } from '../../../services/store/postgres/postgres-maintenance.ts'
import { createPostgresTaskStore } from '../../../services/store/postgres/postgres-task-store.ts'
import { newTask } from '../../../services/tasks/task.ts'
import { createDatabase } from '../../support/postgres.ts'
import { storeTask } from '../../support/store-task.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }

t.test('an open task whose job is gone gets one again, and a task that has ended does not', async (t) => {
  const databaseUrl = await createDatabase(t)
  const store = await createPostgresTaskStore({ databaseUrl, log })
  t.teardown(() => store.close())
  const [open, ended] = [await storeTask(store, newTask('A whale', 'Cursed', 840, Date.now())), await storeTask(store, newTask('A whale', 'Cursed', 840, Date.now()))]
  await store.applyTransition(ended, { type: 'fail', failure: 'canceled' })
  await queryPostgres(databaseUrl, 'delete from pgboss.job')
  t.same(await store.claim(10), [])

  const database = await openPostgres({ databaseUrl, log })
  t.teardown(() => database.close())
  const maintenance = new PostgresMaintenance({ database, now: Date.now, intervalMs: 20, log })
  t.teardown(() => maintenance.stop())
  const claimed = await until(async () => {
    const tasks = await store.claim(10)
    return tasks.length > 0 && tasks
  }, 'the task to be claimed')
  t.same(claimed.map(({ id }) => id), [open.id])
  maintenance.stop()
  await maintenance.drain()
})
