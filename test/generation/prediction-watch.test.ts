import t from 'tap'
import { until } from '../../harness/until.ts'
import type { Fault } from '../../replicate-emulator/fault.ts'
import { ended, postDream, startService, statusOf } from '../support/service.ts'

t.test('reads that fail in any way delay a task and end nothing', async (t) => {
  const { app, emulator } = await startService(t)
  const faults: Array<Omit<Fault, 'call'>> = [
    { kind: 'status', status: 404 }, { kind: 'status', status: 500 }, { kind: 'html', status: 503 },
    { kind: 'malformed' }, { kind: 'empty' }, { kind: 'reset_before' }, { kind: 'status', status: 429, retry_after: 0 }, { kind: 'status', status: 401 }
  ]
  for (const fault of faults) emulator.addFault({ call: 'get', ...fault })
  t.match(await ended(app, await postDream(app)), { status: 'completed' })
  t.ok(emulator.calls.get > faults.length)
})

t.test('many in flight are swept: pages of the list are read instead of each prediction', async (t) => {
  const { app, emulator } = await startService(t, {
    emulator: { generationMs: 600_000 }, env: { REPLICATE_SWEEP_THRESHOLD: '50', REPLICATE_POLL_INTERVAL_MS: '500' }
  })
  const taskIds = await Promise.all(Array.from({ length: 250 }, (_, dream) => postDream(app, `Dream ${dream}`)))
  await until(() => emulator.predictions.length === 250 || undefined, 'all to be in flight')
  await until(async () => {
    const tasks = await Promise.all(taskIds.map((taskId) => statusOf(app, taskId)))
    return tasks.every(({ status }) => status === 'processing') || undefined
  }, 'all predictions to be attached')
  const { list, get } = emulator.calls
  await until(() => emulator.calls.list >= list + 9 || undefined, 'three sweeps')
  t.ok(emulator.calls.get - get <= 16, 'only what was due before the first sweep was read by itself')

  const sweeps = emulator.calls.list
  // Not by the order of creation: a create that was late may have been made again.
  const first = new Set(await Promise.all(taskIds.slice(0, 200).map(async (taskId) => (await app.taskStore.get(taskId))?.predictionId)))
  for (const prediction of emulator.log.all.filter(({ id }) => first.has(id))) emulator.end(prediction, { status: 'succeeded' })
  await until(async () => (await app.taskStore.listInFlight()).length === 50 || undefined, 'the ends to be seen')
  t.ok(emulator.calls.list - sweeps <= 2 * 3 + 3, 'seen within two sweeps')
  for (const taskId of taskIds.slice(0, 200)) t.match(await ended(app, taskId), { status: 'completed' })
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'failed', error: 'E005' })
  for (const taskId of taskIds.slice(200)) t.match(await ended(app, taskId), { status: 'failed', error_code: 'content_policy' })
})

t.test('a sweep that fails is repeated, and predictions that the list does not show are read one by one', async (t) => {
  const { app, emulator } = await startService(t, { env: { REPLICATE_SWEEP_THRESHOLD: '1' } })
  emulator.addFault({ call: 'list', kind: 'malformed' })
  t.match(await ended(app, await postDream(app)), { status: 'completed' })
  t.equal(emulator.calls.get, 0)
})

t.test('where the list alone is broken, predictions are read one by one after two sweeps', async (t) => {
  const { app, emulator } = await startService(t, { env: { REPLICATE_SWEEP_THRESHOLD: '1' } })
  emulator.addFault({ call: 'list', kind: 'status', status: 500, share: 1 })
  const taskIds = await Promise.all(Array.from({ length: 20 }, (_, dream) => postDream(app, `Dream ${dream}`)))
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
  t.ok(emulator.calls.get >= 20)
})

t.test('an implausible date affects its own task only: the others are swept, and that one is read by itself', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 }, env: { REPLICATE_SWEEP_THRESHOLD: '5' } })
  for (const date of ['+275760-09-13T00:00:00.000Z', '0001-01-01T00:00:00.000Z', 'yesterday']) emulator.addDistortion({ members: { created_at: date } })
  const taskIds = await Promise.all(Array.from({ length: 30 }, (_, dream) => postDream(app, `Dream ${dream}`)))
  await until(() => emulator.predictions.length === 30 || undefined, 'all to be in flight')
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
})
