import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { openDatabase } from '../../services/store/sqlite/sqlite-database.ts'
import { SqliteFileHealth } from '../../services/store/sqlite/sqlite-file-health.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import { SqliteWriteBatcher } from '../../services/store/sqlite/sqlite-write-batcher.ts'
import { newTask } from '../../services/tasks/task.ts'
import { slow } from '../support/quick.ts'
import { storeTask } from '../support/store-task.ts'
import { testTaskStore } from './task-store-contract.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }
const now = Date.now
const aTask = (dream = 'A dream') => newTask(dream, 'Cursed', 840, Date.now())

testTaskStore(t, async (t) => {
  const dataDir = t.testdir()
  return {
    open: async (now = Date.now) => createSqliteTaskStore({ dataDir, now, log }),
    kill: (store) => store.close()
  }
})

t.test('what was acknowledged survives kill -9 of the process', slow, async (t) => {
  const dataDir = t.testdir()
  const writer = new URL('../support/sqlite-writer.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [writer, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] })
  let acknowledged = ''
  child.stdout.setEncoding('utf8').on('data', (ids) => {
    acknowledged += ids
    if (acknowledged.length > 200 * 37) child.kill('SIGKILL')
  })
  await once(child, 'close')
  const store = createSqliteTaskStore({ dataDir, now, log })
  t.teardown(() => store.close())
  const ids = acknowledged.split('\n').slice(0, -1)
  t.ok(ids.length >= 200)
  const lost = []
  for (const id of ids) if (await store.get(id) === undefined) lost.push(id)
  t.same(lost, [])
})

t.test('a second process on the same folder gets an error that explains it', async (t) => {
  const dataDir = t.testdir()
  const store = createSqliteTaskStore({ dataDir, now, log })
  t.teardown(() => store.close())
  t.throws(() => createSqliteTaskStore({ dataDir, now, log }), { name: 'StartError', message: /in use by another Dreamreel process.*DATABASE_URL/ })
})

t.test('an error explains that a folder cannot be created', async (t) => {
  const dataDir = join(t.testdir({ file: '' }), 'file')
  t.throws(() => createSqliteTaskStore({ dataDir, now, log }), { name: 'StartError', message: /DATA_DIR .* cannot be written to/ })
})

t.test('data of a newer release are refused', async (t) => {
  const dataDir = t.testdir()
  await createSqliteTaskStore({ dataDir, now, log }).close()
  const database = new DatabaseSync(join(dataDir, 'dreamreel.db'))
  database.exec('pragma user_version = 999')
  database.close()
  t.throws(() => createSqliteTaskStore({ dataDir, now, log }), { name: 'StartError', message: /newer release/ })
})

t.test('a full disk rejects every write of the batch without a change, and writes succeed when there is space again', async (t) => {
  const database = openDatabase(':memory:')
  t.teardown(() => database.close())
  const writes = new SqliteWriteBatcher(database, new SqliteFileHealth(':memory:', log))
  database.exec('create table filling (bytes blob)')
  const { page_count: pages } = database.prepare('pragma page_count').get() ?? {}
  database.exec(`pragma max_page_count = ${Number(pages) + 2}`)
  const insert = (bytes: number) => writes.run(() => database.prepare('insert into filling values (zeroblob(?))').run(bytes))
  const results = await Promise.allSettled([insert(10), insert(1_000_000), insert(10)])
  t.same(results.map(({ status }) => status), ['rejected', 'rejected', 'rejected'])
  t.match(results[0], { reason: { name: 'StoreUnavailableError', cause: { message: /full/ } } })
  t.match(database.prepare('select count(*) as n from filling').get(), { n: 0 })
  database.exec('pragma max_page_count = 10000')
  await insert(1_000_000)
  t.match(database.prepare('select count(*) as n from filling').get(), { n: 1 })
})

t.test('tasks of a transaction that was rolled back do not count against a cap', async (t) => {
  const store = createSqliteTaskStore({ dataDir: ':memory:', now, log })
  t.teardown(() => store.close())
  const [task, caps] = [aTask(), { ofKey: 2, inAll: 2 }]
  t.match(await store.create(task, caps), { outcome: 'created' })
  // The second insertion of the same task fails, and the first one is rolled back with it.
  const results = await Promise.allSettled([store.create(aTask(), caps), store.create(task, { ofKey: null, inAll: null })])
  t.same(results.map(({ status }) => status), ['rejected', 'rejected'])
  t.match([await store.create(aTask(), caps), await store.create(aTask(), caps)], [{ outcome: 'created' }, { outcome: 'too_many_open_tasks' }])
})

t.test('all writes of one turn of the event loop share one transaction', async (t) => {
  const dataDir = t.testdir()
  const store = createSqliteTaskStore({ dataDir, now, log })
  t.teardown(() => store.close())
  let settled = 0
  const creations = Array.from({ length: 50 }, () => storeTask(store, aTask()).then(() => { settled++ }))
  const settledAtFirst = await creations[0]?.then(() => new Promise<number>((resolve) => queueMicrotask(() => resolve(settled))))
  await Promise.all(creations)
  t.equal(settledAtFirst, 50)
})

t.test('a prediction still belongs to its task when the record of its owner has expired', async (t) => {
  let clock = Date.now()
  const store = createSqliteTaskStore({ dataDir: ':memory:', now: () => clock, log })
  t.teardown(() => store.close())
  const submission = { startedAt: clock, model: 'luma/ray', input: {}, webhook: null, providerStartedAt: null, isAmbiguous: false }
  const attach = async (predictionId: string) => {
    const submitted = await store.applyTransition(await storeTask(store, aTask()), { type: 'submit', submission })
    if (submitted.outcome !== 'applied') throw new Error(submitted.outcome)
    return store.applyTransition(submitted.task, { type: 'attach_prediction', predictionId, predictionCreatedAt: null })
  }
  t.match(await attach('first'), { outcome: 'applied' })
  clock += 3 * 24 * 3_600_000
  t.match(await attach('second'), { outcome: 'applied' })
  t.same(Array.from((await store.findPredictionOwners(['first', 'second'])).keys()), ['second'])
  t.match(await attach('first'), { outcome: 'prediction_taken' })
})
