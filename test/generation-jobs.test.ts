import t from 'tap'
import { JobRunner } from '../services/job-runner.ts'
import { createSqliteTaskStore } from '../services/sqlite-task-store.ts'
import { newTask } from '../services/task.ts'
import { ended, postDream, startService, statusOf, until } from './service.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }

t.test('no more tasks than MAX_IN_FLIGHT are worked on at a time, and the others follow', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 }, env: { MAX_IN_FLIGHT: '2' } })
  const taskIds = await Promise.all(Array.from({ length: 5 }, () => postDream(app)))
  for (let made = 2; made <= 5; made++) {
    await until(() => emulator.predictions.length === made || undefined, `prediction ${made}`)
    const tasks = await Promise.all(taskIds.map((taskId) => statusOf(app, taskId)))
    t.ok(tasks.filter(({ status }) => status === 'processing').length <= 2)
    t.equal(app.generationJobs.inFlight, 2)
    const [oldest] = emulator.log.all.filter(({ endsAt }) => endsAt > emulator.now())
    if (oldest !== undefined) emulator.end(oldest, { status: 'succeeded' })
  }
  emulator.settings.generationMs = 0
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  for (const taskId of taskIds) t.equal((await ended(app, taskId)).status, 'completed')
  t.equal(emulator.predictions.length, 5)
})

t.test('at the deadline every task ends, the ones that nobody worked on too, and the prediction is cancelled', async (t) => {
  const { app, emulator } = await startService(t, {
    emulator: { generationMs: 600_000 }, env: { MAX_IN_FLIGHT: '1', TASK_DEADLINE_SECONDS: '6' }
  })
  const [submitted, waiting] = [await postDream(app), await postDream(app)]
  t.match(await ended(app, submitted), { status: 'failed', error_code: 'deadline_exceeded' })
  t.match(await ended(app, waiting), { status: 'failed', error_code: 'provider_rate_limited' })
  t.match(emulator.predictions.map(({ status }) => status), ['canceled'])
})

t.test('the deadline does not wait for a Replicate that asks to stay away', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 }, env: { TASK_DEADLINE_SECONDS: '6' } })
  emulator.addFault({ call: 'get', kind: 'status', status: 429, retry_after: 60 })
  t.match(await ended(app, await postDream(app)), { status: 'failed', error_code: 'deadline_exceeded' })
})

t.test('a job that throws again and again ends with its task’s deadline', async (t) => {
  const taskStore = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
  const task = await taskStore.create(newTask('A whale', 'Cursed', 1, Date.now()))
  const lines: object[] = []
  const write = (details: object) => { lines.push(details) }
  let tries = 0
  const jobs = new JobRunner({
    taskStore,
    job: async () => { throw new Error(`Broken ${++tries}`) },
    giveUp: async (late) => { await taskStore.move(late, { type: 'fail', failure: 'deadline_exceeded' }) },
    maxInFlight: 1,
    room: () => 1,
    lookIntervalMs: 1_000,
    stopping: new AbortController(),
    now: Date.now,
    log: { debug: write, info: write, warn: write, error: write }
  })
  t.teardown(async () => {
    await jobs.stop()
    await taskStore.close()
  })
  jobs.start()
  await until(() => (jobs.inFlight === 0 && tries > 0) || undefined, 'the job to be given up')
  t.match(await taskStore.get(task.id), { stage: 'failed', failure: 'deadline_exceeded' })
  t.equal(lines.length, tries)
})
