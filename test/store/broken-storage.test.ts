import { closeSync, openSync, readdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync, writeSync, mkdirSync, copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import { newTask } from '../../services/tasks/task.ts'
import { matchList } from '../support/match-list.ts'
import { slow } from '../support/quick.ts'
import { runService } from '../support/running-service.ts'
import { startEmulator } from '../support/service.ts'
import { storeTask } from '../support/store-task.ts'

const pageBytes = 4_096
const aTask = (dream = 'A whale') => newTask(dream, 'Cursed', 840, Date.now())

/** A log that keeps the messages of the levels `info` and `error`. */
function collect () {
  const errors: string[] = []
  const info: string[] = []
  return { errors, info, log: { debug () {}, warn () {}, info: (_: object, message: string) => { info.push(message) }, error: (_: object, message: string) => { errors.push(message) } } }
}

/** A folder with many queued tasks, in which the root page of their table is overwritten. */
async function damagedFolder (dataDir: string): Promise<string> {
  const store = createSqliteTaskStore({ dataDir, now: Date.now, log: collect().log })
  await Promise.all(Array.from({ length: 500 }, () => storeTask(store, aTask('A whale '.repeat(100)))))
  await store.close()
  const file = join(dataDir, 'dreamreel.db')
  const database = new DatabaseSync(file)
  const rootPage = Number(database.prepare("select rootpage from sqlite_schema where name = 'task'").get()?.rootpage)
  const entries = Number(database.prepare('select count(*) as n from task').get()?.n)
  database.close()
  if (entries !== 500) throw new Error('The tasks are not there')
  const opened = openSync(file, 'r+')
  writeSync(opened, Buffer.alloc(pageBytes, 0xa5), 0, pageBytes, (rootPage - 1) * pageBytes)
  closeSync(opened)
  return dataDir
}

t.test('a damaged page ends readiness and the creation of tasks, and is logged as one error', async (t) => {
  const { errors, log } = collect()
  const store = createSqliteTaskStore({ dataDir: await damagedFolder(t.testdir()), now: Date.now, log })
  t.teardown(() => store.close())
  for (let claim = 0; claim < 3; claim++) await t.rejects(store.claim(10), { name: 'StoreUnavailableError', cause: { message: /malformed/ } })
  await t.rejects(store.ping(), { name: 'StoreUnavailableError' })
  await t.rejects(storeTask(store, aTask()), { name: 'StoreUnavailableError' })
  await t.rejects(store.createIdempotent(aTask(), { scope: '', key: 'a', fingerprint: 'b', code: 200 }), { name: 'StoreUnavailableError' })
  matchList(t, errors, [/damaged.*Stop the service/])
  t.equal(errors.length, 1)
})

t.test('a service whose file is damaged is not ready, refuses new tasks and logs it once', slow, async (t) => {
  const { apiUrl } = await startEmulator(t)
  const service = await runService(t, { DATA_DIR: await damagedFolder(t.testdir()), REPLICATE_API_URL: apiUrl })
  const url = await service.listeningUrl()
  await until(async () => (await fetch(`${url}/readyz`)).status === 503 || undefined, 'readiness to end')
  t.equal((await fetch(`${url}/generate-video?dream=A+whale&style=Cursed`, { method: 'POST' })).status, 503)
  t.equal((await fetch(`${url}/livez`)).status, 200)
  const count = (message: string) => service.output().split(message).length - 1
  t.equal(count('The database file is damaged'), 1)
  t.equal(count('Work cannot be claimed'), 1)
})

for (const [what, damage] of Object.entries({
  removed: (folder: string) => rmSync(folder, { recursive: true }),
  replaced: (folder: string) => {
    renameSync(folder, `${folder}-old`)
    mkdirSync(folder)
    for (const name of readdirSync(`${folder}-old`)) copyFileSync(join(`${folder}-old`, name), join(folder, name))
  },
  'without its log': (folder: string) => rmSync(join(folder, 'dreamreel.db-wal'))
})) {
  t.test(`a file that is ${what} while it is in use accepts no more writes`, async (t) => {
    const dataDir = join(t.testdir(), 'data')
    const { errors, log } = collect()
    const store = createSqliteTaskStore({ dataDir, now: Date.now, log })
    t.teardown(() => store.close())
    const task = await storeTask(store, aTask())
    await store.ping()
    damage(dataDir)
    await t.rejects(store.ping(), { name: 'StoreUnavailableError', cause: { message: /removed or replaced/ } })
    await t.rejects(storeTask(store, aTask()), { name: 'StoreUnavailableError' })
    await t.rejects(store.applyTransition(task, { type: 'fail', failure: 'canceled' }), { name: 'StoreUnavailableError' })
    t.match(await store.get(task.id), { state: 'queued' })
    t.equal(errors.length, 1)
    t.match(errors[0], /was removed or replaced: no new tasks/)
  })
}

t.test('a file that is moved back to its place is used again', async (t) => {
  const dataDir = join(t.testdir(), 'data')
  const { errors, info, log } = collect()
  const store = createSqliteTaskStore({ dataDir, now: Date.now, log })
  t.teardown(() => store.close())
  renameSync(dataDir, `${dataDir}-elsewhere`)
  await t.rejects(storeTask(store, aTask()), { name: 'StoreUnavailableError' })
  renameSync(`${dataDir}-elsewhere`, dataDir)
  const task = await storeTask(store, aTask())
  await store.ping()
  t.equal(errors.length, 1)
  matchList(t, info, ['The database file is in place again'])
  await store.close()
  const reopened = createSqliteTaskStore({ dataDir, now: Date.now, log })
  t.teardown(() => reopened.close())
  t.same(await reopened.get(task.id), task)
})

t.test('an error names the file that cannot be used, and the reason', async (t) => {
  const cases: Record<string, (file: string) => void | Promise<void>> = {
    'is not a SQLite database': (file) => writeFileSync(file, 'A dream '.repeat(1_000)),
    'cannot be opened': (file) => mkdirSync(file),
    'is damaged or was cut short': async (file) => {
      const store = createSqliteTaskStore({ dataDir: join(file, '..'), now: Date.now, log: collect().log })
      await Promise.all(Array.from({ length: 500 }, () => storeTask(store, aTask())))
      await store.close()
      truncateSync(file, Math.floor(statSync(file).size / 2 / pageBytes) * pageBytes)
    },
    'is the database of another program': (file) => {
      const database = new DatabaseSync(file)
      database.exec('create table note (text)')
      database.close()
    }
  }
  for (const [reason, damage] of Object.entries(cases)) {
    const dataDir = join(t.testdir(), reason)
    mkdirSync(dataDir)
    const file = join(dataDir, 'dreamreel.db')
    await damage(file)
    t.throws(() => createSqliteTaskStore({ dataDir, now: Date.now, log: collect().log }),
      { name: 'StartError', message: new RegExp(`^${file} ${reason}`) })
  }
})
