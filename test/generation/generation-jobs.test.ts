import t, { type Test } from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { until } from '../../harness/until.ts'
import { JobRunner } from '../../services/generation/job-runner.ts'
import { createPostgresTaskStore } from '../../services/store/postgres/postgres-task-store.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import type { TaskStore } from '../../services/store/task-store.ts'
import { newTask, type Transition, type Task } from '../../services/tasks/task.ts'
import { matchList } from '../support/match-list.ts'
import { createDatabase } from '../support/postgres.ts'
import { predict } from '../support/predict.ts'
import { slowOn } from '../support/quick.ts'
import { ended, postDream, startEmulator, startService, testEnvironment } from '../support/service.ts'
import { storeTask } from '../support/store-task.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }

t.test('at most MAX_IN_FLIGHT tasks are in work at a time, and the others follow', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 }, env: { MAX_IN_FLIGHT: '2' } })
  const taskIds = await Promise.all(Array.from({ length: 5 }, () => postDream(app)))
  for (let made = 2; made <= 5; made++) {
    await until(() => emulator.predictions.length === made || undefined, `prediction ${made}`)
    t.ok(emulator.log.all.filter(({ endsAt }) => endsAt > emulator.now()).length <= 2)
    t.equal(app.generationJobs.inFlight, 2)
    const [oldest] = emulator.log.all.filter(({ endsAt }) => endsAt > emulator.now())
    if (oldest !== undefined) emulator.end(oldest, { status: 'succeeded' })
  }
  emulator.settings.generationMs = 0
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  for (const taskId of taskIds) t.equal((await ended(app, taskId)).status, 'completed')
  t.equal(emulator.predictions.length, 5)
})

t.test('at the deadline every task ends, also a task that was never submitted, and the prediction is canceled', async (t) => {
  const { app, emulator } = await startService(t, {
    emulator: { generationMs: 600_000 }, env: { MAX_IN_FLIGHT: '1', TASK_DEADLINE_SECONDS: '6' }
  })
  const [submitted, waiting] = [await postDream(app), await postDream(app)]
  t.match(await ended(app, submitted), { status: 'failed', error_code: 'deadline_exceeded' })
  t.match(await ended(app, waiting), { status: 'failed', error_code: 'provider_rate_limited' })
  matchList(t, emulator.predictions.map(({ status }) => status), ['canceled'])
})

t.test('the deadline does not wait for the Retry-After of Replicate', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 }, env: { TASK_DEADLINE_SECONDS: '6' } })
  emulator.addFault({ call: 'get', kind: 'status', status: 429, retry_after: 60 })
  t.match(await ended(app, await postDream(app)), { status: 'failed', error_code: 'deadline_exceeded' })
})

t.test('a job that throws again and again ends with its task’s deadline', async (t) => {
  const taskStore = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
  const task = await storeTask(taskStore, newTask('A whale', 'Cursed', 1, Date.now()))
  const lines: object[] = []
  const write = (details: object) => { lines.push(details) }
  let tries = 0
  const jobs = new JobRunner({
    taskStore,
    job: async () => { throw new Error(`Broken ${++tries}`) },
    endOverdue: async (late) => { await taskStore.applyTransition(late, { type: 'fail', failure: 'deadline_exceeded' }) },
    maxInFlight: 1,
    capacity: () => 1,
    claimIntervalMs: 1_000,
    stopping: new AbortController(),
    now: Date.now,
    log: { debug: write, info: write, warn: write, error: write }
  })
  t.teardown(async () => {
    await jobs.stop()
    await taskStore.close()
  })
  jobs.start()
  await until(() => (jobs.inFlight === 0 && tries > 0) || undefined, 'the job to end')
  t.match(await taskStore.get(task.id), { state: 'failed', failure: 'deadline_exceeded' })
  t.equal(lines.length, tries)
})

t.test('a task whose end cannot be written is released, and is an error in the log once', async (t) => {
  const taskStore = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
  await storeTask(taskStore, newTask('A whale', 'Cursed', 0, Date.now()))
  const errors: string[] = []
  let releases = 0
  const { release } = taskStore
  taskStore.release = async (id) => {
    releases++
    await Reflect.apply(release, taskStore, [id])
  }
  const fail = async () => { throw new Error('A value that no row takes') }
  const jobs = new JobRunner({
    taskStore,
    job: fail,
    endOverdue: fail,
    maxInFlight: 1,
    capacity: () => 1,
    claimIntervalMs: 20,
    stopping: new AbortController(),
    now: Date.now,
    log: { ...log, error: (_details: object, message: string) => { errors.push(message) } }
  })
  t.teardown(async () => {
    await jobs.stop()
    await taskStore.close()
  })
  jobs.start()
  await until(() => releases > 0 || undefined, 'the task to be released')
  const before = errors.length
  t.equal(errors.filter((message) => message.startsWith('The end of a task cannot be written')).length, 1)
  await until(() => releases > 1 || undefined, 'the task to be claimed and released again')
  t.equal(errors.length, before, 'the error is not logged a second time')
})

interface Shelf { env: Record<string, string>, open: () => Promise<TaskStore> }

const shelves: Record<string, (t: Test) => Promise<Shelf>> = {
  SQLite: async (t) => {
    const dataDir = t.testdir()
    return { env: { DATA_DIR: dataDir }, open: async () => createSqliteTaskStore({ dataDir, now: Date.now, log }) }
  },
  PostgreSQL: async (t) => {
    const databaseUrl = await createDatabase(t)
    return { env: { DATABASE_URL: databaseUrl }, open: () => createPostgresTaskStore({ databaseUrl, log }) }
  }
}

/** More than may wait at the gate. */
const manyDreams = 70

for (const [name, makeShelf] of Object.entries(shelves)) {
  t.test(`${name}: the paid predictions of a process that died are completed although Replicate takes no new ones`, slowOn(name), async (t) => {
    const { env, open } = await makeShelf(t)
    const { emulator, apiUrl } = await startEmulator(t)
    const dead = await open()
    for (let dream = 0; dream < manyDreams; dream++) await storeTask(dead, newTask(`Dream ${dream}`, 'Cursed', 840, Date.now()))
    const paid = await Promise.all(['Paid 1', 'Paid 2', 'Paid 3'].map(async (dream) => generating(dead, await storeTask(dead, newTask(dream, 'Cursed', 840, Date.now())), apiUrl)))
    while ((await dead.claim(100)).length > 0);
    // A store that is closed hands nothing back: to all others its process has died.
    await dead.close()
    emulator.addFault({ call: 'create', kind: 'status', status: 402, share: 1 })
    const app = await buildApp(readConfig({ ...testEnvironment, REPLICATE_API_URL: apiUrl, ...env }), { logStream: { write: () => {} } })
    t.teardown(() => app.close())
    await app.ready()
    for (const { id } of paid) t.match(await ended(app, id), { status: 'completed' })
    t.equal(emulator.predictions.length, paid.length, 'nothing new was taken meanwhile')
  })
}

/** The task with a prediction that really is there. */
async function generating (store: TaskStore, task: Task, apiUrl: string): Promise<Task> {
  const submission = { startedAt: Date.now(), providerStartedAt: Date.now(), model: 'luma/ray', input: { prompt: task.dream }, webhook: null, isAmbiguous: false }
  const id = await predict(apiUrl, submission.input)
  const moves: Transition[] = [{ type: 'submit', submission }, { type: 'attach_prediction', predictionId: id, predictionCreatedAt: Date.now() }]
  for (const move of moves) {
    const moved = await store.applyTransition(task, move)
    if (moved.outcome !== 'applied') throw new Error(`${move.type} was ${moved.outcome}`)
    task = moved.task
  }
  return task
}
