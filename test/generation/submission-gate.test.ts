import t from 'tap'
import { until } from '../../harness/until.ts'
import { ended, postDream, startService, statusOf } from '../support/service.ts'

t.jobs = 3

const openings = (logLines: string[]) => logLines.filter((line) => line.includes('Replicate takes no predictions')).length

for (const status of [401, 402]) {
  t.test(`while the account is refused with ${status} tasks wait, one line says so, and they go on afterwards`, async (t) => {
    const { app, emulator, logLines } = await startService(t)
    emulator.addFault({ call: 'create', kind: 'status', status, detail: 'Your account', share: 1 })
    const taskIds = await Promise.all(Array.from({ length: 40 }, () => postDream(app)))
    await until(() => openings(logLines) > 0 || undefined, 'the breaker to open')
    const creates = emulator.calls.create
    const later = await postDream(app)
    t.equal((await app.inject('/readyz')).statusCode, 200)
    for (const taskId of [...taskIds, later]) t.equal((await statusOf(app, taskId)).status, 'pending')
    await until(() => emulator.calls.create > creates || undefined, 'the probe')
    emulator.clearFaults()
    for (const taskId of [...taskIds, later]) t.match(await ended(app, taskId), { status: 'completed' })
    t.equal(openings(logLines), 1)
    t.equal(emulator.predictions.length, 41)
    t.match(logLines.find((line) => line.includes('Replicate takes no predictions')), 'Your account')
  })
}

t.test('a forbidden model delays the tasks of its style only', async (t) => {
  const { app, emulator } = await startService(t)
  emulator.addFault({ call: 'create', kind: 'status', status: 403 })
  const forbidden = await postDream(app)
  await until(() => emulator.calls.create > 0 || undefined, 'the refusal')
  const taskIds = await Promise.all(Array.from({ length: 5 }, () => postDream(app)))
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
  t.equal((await statusOf(app, forbidden)).status, 'pending')
})

t.test('a task that was never submitted fails at its deadline, not sooner, with what it waited for', async (t) => {
  const { app, emulator } = await startService(t, { env: { TASK_DEADLINE_SECONDS: '7' } })
  emulator.addFault({ call: 'create', kind: 'status', status: 402, share: 1 })
  const taskIds = [await postDream(app)]
  await until(() => emulator.calls.create > 0 || undefined, 'the first try')
  taskIds.push(await postDream(app))
  for (const taskId of taskIds) {
    const task = await ended(app, taskId)
    t.match(task, { status: 'failed', error_code: 'provider_account' })
    t.ok(Date.parse(task.updated_at) - Date.parse(task.created_at) >= 7_000, `${task.created_at} to ${task.updated_at}`)
  }
})

t.test('while Replicate is down hardly anything is sent, and nothing is lost or made twice', async (t) => {
  const { app, emulator, logLines } = await startService(t)
  emulator.addFault({ call: 'any', kind: 'status', status: 503, share: 1 })
  const taskIds = []
  for (let task = 0; task < 6; task++) {
    taskIds.push(await postDream(app, `Dream ${task}`))
    if (task < 3) await until(() => emulator.calls.create > task || undefined, 'the create')
  }
  await until(() => emulator.calls.account > 0 || undefined, 'the recovery check')
  t.equal(emulator.calls.create, 3)
  t.equal(openings(logLines), 1)
  emulator.clearFaults()
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
  t.equal(emulator.predictions.length, 6)
})

t.test('after a 429 no create is sent before the time that it names', async (t) => {
  const { app, emulator } = await startService(t)
  emulator.addFault({ call: 'create', kind: 'status', status: 429, retry_after: 2 })
  const first = await postDream(app)
  await until(() => emulator.calls.create > 0 || undefined, 'the first try')
  const before = Date.now()
  const taskIds = [first, ...await Promise.all(Array.from({ length: 5 }, () => postDream(app)))]
  await until(() => emulator.calls.create > 1 || undefined, 'the second try')
  t.ok(Date.now() - before > 1_500, 'no sooner than asked')
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
  t.equal(emulator.calls.create, 7)
})

t.test('a task that is canceled while it waits leaves the gate without using up a call', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 }, env: { REPLICATE_CREATES_PER_MINUTE: '1' } })
  await postDream(app)
  await until(() => emulator.calls.create === 1 || undefined, 'the first create')
  const waiting = await Promise.all(Array.from({ length: 5 }, () => postDream(app)))
  await until(() => app.generationJobs.inFlight === 6 || undefined, 'all to wait at the gate')
  for (const taskId of waiting) await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })
  await until(() => app.generationJobs.inFlight === 1 || undefined, 'the canceled ones to leave', { timeoutMs: 20_000 })
  t.equal(emulator.calls.create, 1)
})
