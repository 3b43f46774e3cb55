import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import t, { type Test } from 'tap'
import { createPostgresTaskStore } from '../../services/store/postgres/postgres-task-store.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import type { TaskListQuery, TaskStore } from '../../services/store/task-store.ts'
import { styles } from '../../services/tasks/styles.ts'
import { newTask, taskStatuses } from '../../services/tasks/task.ts'
import { createDatabase } from '../support/postgres.ts'
import { slow } from '../support/quick.ts'
import { storeTask } from '../support/store-task.ts'

const write = () => {}
const log = { debug: write, info: write, warn: write, error: write }

interface Query { sql: string, values: unknown[] }

/** Random ids are before it as often as after it. */
const middle = '80000000-0000-7000-8000-000000000000'
/** Every combination of filters, on a first page and on a later one. */
const queries: TaskListQuery[] = [undefined, ...taskStatuses].flatMap((status) => [undefined, ...styles].flatMap((style) =>
  [undefined, 'studio'].flatMap((keyName) => [undefined, middle].map((before) => ({ status, style, keyName, before, limit: 101 })))
))

async function listAll (store: TaskStore): Promise<void> {
  for (const query of queries) await store.list(query)
}

t.test('SQLite: a query of the list sorts nothing and reads no task that it does not return, with any filter', async (t) => {
  const dataDir = t.testdir()
  const store = createSqliteTaskStore({ dataDir, now: Date.now, log })
  const sent = await preparedDuring(() => listAll(store))
  await store.close()
  const plans = explainAll(t, dataDir, sent)
  t.same(plans.sort(), [
    'SEARCH task USING INDEX sqlite_autoindex_task_1 (id<?)',
    'SEARCH task USING INDEX task_list_key (key_name=? AND id<?)',
    'SEARCH task USING INDEX task_list_key_status (key_name=? AND status=? AND id<?)',
    'SEARCH task USING INDEX task_list_key_status_style (key_name=? AND status=? AND style=? AND id<?)',
    'SEARCH task USING INDEX task_list_key_style (key_name=? AND style=? AND id<?)',
    'SEARCH task USING INDEX task_list_status (status=? AND id<?)',
    'SEARCH task USING INDEX task_list_status_style (status=? AND style=? AND id<?)',
    'SEARCH task USING INDEX task_list_style (style=? AND id<?)'
  ])
})

t.test('SQLite: what an instance reads every few seconds does not read the tasks that only wait', async (t) => {
  const dataDir = t.testdir()
  const open = async () => { await createSqliteTaskStore({ dataDir, now: Date.now, log }).close() }
  const sent = (await preparedDuring(open)).filter((sql) => /^select .*submission is not null/s.test(sql))
  const plans = explainAll(t, dataDir, sent)
  t.equal(plans.length, 2)
  for (const plan of plans) {
    t.match(plan, /task USING INDEX task_unresolved/)
    t.notMatch(plan, /prediction_id=/, plan)
  }
})

t.test('SQLite: a scrape of the metrics finds open tasks by an index, and reads no more than its limit', async (t) => {
  const dataDir = t.testdir()
  const open = async () => { await createSqliteTaskStore({ dataDir, now: Date.now, log }).close() }
  const sent = (await preparedDuring(open)).filter((sql) => sql.includes('oldest_created_at'))
  const [plan = ''] = explainAll(t, dataDir, sent)
  t.match(plan, /SCAN task USING INDEX task_open_deadline/)
})

t.test('SQLite: the status of the service reads open tasks and those that have ended since a time, and no others', async (t) => {
  const dataDir = t.testdir()
  const open = async () => { await createSqliteTaskStore({ dataDir, now: Date.now, log }).close() }
  const sent = (await preparedDuring(open)).filter((sql) => sql.includes('ended_minute'))
  t.same(explainAll(t, dataDir, sent).map((plan) => plan.match(/(SCAN|SEARCH) task USING INDEX \w+( \([^)]*\))?/g)), [
    ['SCAN task USING INDEX task_open_deadline', 'SEARCH task USING INDEX task_ended (updated_at>?)']
  ])
})

t.test('SQLite: the place of a new task and the next task to claim are read from indexes', async (t) => {
  const dataDir = t.testdir()
  const open = async () => { await createSqliteTaskStore({ dataDir, now: Date.now, log }).close() }
  const sent = (await preparedDuring(open)).filter((sql) => /^select .*start_tag/s.test(sql))
  t.same(explainAll(t, dataDir, sent).map((plan) => plan.match(/INDEX \w+( \([^)]*\))?|B-TREE|SCAN task(?! USING)/g)), [
    ['INDEX task_queued (start_tag>?)'],
    ['INDEX task_submitted', 'INDEX task_queued', 'INDEX task_open_key (key_name=?)']
  ])
})

t.test('PostgreSQL: a query of the list sorts nothing and reads hardly any task that it does not return, with any filter', slow, async (t) => {
  const databaseUrl = await createDatabase(t)
  const store = await createPostgresTaskStore({ databaseUrl, now: Date.now, log })
  t.teardown(() => store.close())
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  // Nearly all tasks have one status and one style, so that a query that filters rows itself would read thousands of them.
  const [common, ...rare] = ['completed', 'queued', 'submitting', 'generating', 'failed'].flatMap((state) => styles.map((style) => ({ state, style })))
  for (const { state, style, count } of [{ ...common, count: 20_000 }, ...rare.map((kind) => ({ ...kind, count: 10 }))]) {
    await client.query(`insert into task (id, state, version, revision, dream, style, created_at, updated_at, deadline_at, key_name)
      select gen_random_uuid(), $1, 1, 1, 'A whale', $2, 1, 1, 1, case when n % 2 = 0 then 'studio' end from generate_series(1, $3) n`, [state, style, count])
  }
  await client.query('analyze task')
  const sent = await queriesOf(() => listAll(store), 'order by id desc')
  t.equal(sent.length, queries.length)
  const slow: unknown[] = []
  for (const { sql, values } of sent) {
    const { rows } = await client.query(`explain (analyze, format json) ${sql}`, values)
    const [{ Plan: { Plans: [scan] } }] = rows[0]['QUERY PLAN']
    // A query whose filter matches nearly all tasks may discard a few rows.
    if (!/^Index (Only )?Scan$/.test(scan['Node Type']) || scan['Rows Removed by Filter'] > 200) slow.push({ values, scan })
  }
  t.same(slow, [])
})

t.test('PostgreSQL: the status of the service reads hardly a task that ended earlier, however many there are', slow, async (t) => {
  const databaseUrl = await createDatabase(t)
  const store = await createPostgresTaskStore({ databaseUrl, now: Date.now, log })
  t.teardown(() => store.close())
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  for (const { state, count } of [{ state: 'completed', count: 90_000 }, { state: 'failed', count: 10_000 }, { state: 'queued', count: 100 }]) {
    await client.query(`insert into task (id, state, version, revision, dream, style, created_at, updated_at, deadline_at)
      select gen_random_uuid(), $1, 1, 1, 'A whale', 'Cursed', n, n, n from generate_series(1, $2) n`, [state, count])
  }
  await client.query('analyze task')
  const [query] = await queriesOf(() => store.countActivity(89_001, 50_000), 'ended_minute')
  const { rows } = await client.query(`explain (analyze, format json) ${query?.sql}`, query?.values)
  const scans = findScans(rows[0]['QUERY PLAN'][0].Plan) as Array<Record<string, unknown>>
  t.match(scans.map((scan) => scan['Node Type']), [/^(Index|Bitmap Heap) Scan$/, /^(Index|Bitmap Heap) Scan$/])
  t.same(scans.map((scan) => [scan['Actual Rows'], scan['Rows Removed by Filter'] ?? 0]), [[100, 0], [1_000, 0]])
})

t.test('PostgreSQL: the place of a new task is read from indexes, however many tasks there are', slow, async (t) => {
  const databaseUrl = await createDatabase(t)
  const store = await createPostgresTaskStore({ databaseUrl, now: Date.now, log })
  t.teardown(() => store.close())
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  for (const state of ['queued', 'generating', 'completed']) {
    await client.query(`insert into task (id, state, version, revision, dream, style, created_at, updated_at, deadline_at, key_name, start_tag)
      select gen_random_uuid(), $1, 1, 1, 'A whale', 'Cursed', 1, 1, 1, case when n % 2 = 0 then 'studio' end, n from generate_series(1, 5000) n`, [state])
  }
  await client.query('analyze task')
  const [query] = await queriesOf(() => storeTask(store, newTask('A whale', 'Cursed', 840, Date.now(), { keyName: 'studio' })), 'start_tag desc')
  const { rows } = await client.query(`explain (analyze, format json) ${query?.sql}`, query?.values)
  const scans = findScans(rows[0]['QUERY PLAN'][0].Plan)
  t.equal(scans.length, 4)
  for (const scan of scans) t.match(scan, { 'Node Type': /^Index/, 'Actual Rows': 1, 'Actual Loops': 1 })
})

/** Every node of a plan that reads the table of the tasks. */
function findScans (plan: Record<string, unknown>): object[] {
  const below = Array.isArray(plan.Plans) ? plan.Plans.flatMap(findScans) : []
  return plan['Relation Name'] === 'task' ? [plan, ...below] : below
}

t.test('SQLite: what concerns videos is found by indexes', async (t) => {
  const dataDir = t.testdir()
  const open = async () => { await createSqliteTaskStore({ dataDir, now: Date.now, log }).close() }
  const sent = (await preparedDuring(open)).filter((sql) => /^select .*(video_name|video_work|updated_at <)/s.test(sql))
  const plans = explainAll(t, dataDir, sent)
  t.equal(plans.length, 4)
  for (const plan of plans) t.notMatch(plan, /SCAN task(?! USING INDEX task_video_work)|TEMP B-TREE/, plan)
})

/** The statements that any SQLite database prepares while `work` runs. */
async function preparedDuring (work: () => Promise<void>): Promise<string[]> {
  const { prepare } = DatabaseSync.prototype
  const sent: string[] = []
  DatabaseSync.prototype.prepare = function (this: DatabaseSync, sql, ...rest) {
    sent.push(sql)
    return Reflect.apply(prepare, this, [sql, ...rest])
  }
  await work().finally(() => { DatabaseSync.prototype.prepare = prepare })
  return sent
}

/** The plan of each statement, its lines separated by semicolons. */
function explainAll (t: Test, dataDir: string, statements: string[]): string[] {
  const database = new DatabaseSync(join(dataDir, 'dreamreel.db'))
  t.teardown(() => database.close())
  return statements.map((sql) => database.prepare(`explain query plan ${sql}`).all().map(({ detail }) => String(detail)).join('; '))
}

/** The queries with this text that the driver is given while `work` runs. */
async function queriesOf (work: () => Promise<unknown>, text: string): Promise<Query[]> {
  // The boundary: the type has an overload for each kind of query.
  const prototype = pg.Client.prototype as { query: (this: pg.Client, ...parameters: unknown[]) => unknown }
  const { query } = prototype
  const sent: Query[] = []
  prototype.query = function (...parameters) {
    const [sql, values] = parameters
    if (typeof sql === 'string' && sql.includes(text) && Array.isArray(values)) sent.push({ sql, values })
    return Reflect.apply(query, this, parameters)
  }
  await work().finally(() => { prototype.query = query })
  return sent
}
