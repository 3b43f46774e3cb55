import t from 'tap'
import { until } from '../../harness/until.ts'
import type { Fault } from '../../replicate-emulator/fault.ts'
import { predict } from '../support/predict.ts'
import { ended, postDream, startService, statusOf } from '../support/service.ts'

t.jobs = 4

/** One task for each fault, its create broken by it: the dreams, in the order of the faults. */
async function breakCreates (service: Awaited<ReturnType<typeof startService>>, faults: Array<Omit<Fault, 'call'>>): Promise<string[]> {
  const taskIds = []
  for (const [index, fault] of faults.entries()) {
    const before = service.emulator.calls.create
    service.emulator.addFault({ call: 'create', ...fault })
    taskIds.push(await postDream(service.app, `Dream ${index}`))
    await until(() => service.emulator.calls.create > before || undefined, 'the create')
  }
  return taskIds
}

t.test('a prediction whose response was lost is found, and no second one is created', async (t) => {
  const service = await startService(t)
  const taskIds = await breakCreates(service, [
    { kind: 'reset_after' },
    { kind: 'malformed' },
    { kind: 'empty' },
    { kind: 'status', status: 408, after: true }
  ])
  for (const taskId of taskIds) t.match(await ended(service.app, taskId), { status: 'completed' })
  t.equal(service.emulator.predictions.length, taskIds.length)
  t.equal(service.emulator.calls.create, taskIds.length)
})

t.test('a submission that never arrived is repeated once, and predictions of other clients are not taken', async (t) => {
  const service = await startService(t, { emulator: { generationMs: 3_000 } })
  const { app, emulator, apiUrl } = service
  const stylePrompt = 'Photorealistic, cinematic, surreal, dreamlike visuals. '
  await predict(apiUrl, { prompt: `${stylePrompt}Dream 0`, aspect_ratio: '9:16' }, { webhook: 'https://another.example/hook' })
  await predict(apiUrl, { prompt: `${stylePrompt}Dream 1 and more`, aspect_ratio: '9:16' })

  const taskIds = await breakCreates(service, [{ kind: 'reset_before' }, { kind: 'status', status: 502 }])
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
  t.same(emulator.predictions.map(({ status }) => status), ['succeeded', 'succeeded', 'succeeded', 'succeeded'])
  t.equal(emulator.calls.cancel, 0)
})

t.test('tasks of the same dream may swap predictions, but there are never more predictions than tasks', async (t) => {
  const { app, emulator } = await startService(t)
  emulator.addFault({ call: 'create', kind: 'reset_after', times: 3 })
  emulator.addFault({ call: 'create', kind: 'reset_before', times: 2 })
  const taskIds = await Promise.all(Array.from({ length: 7 }, () => postDream(app, 'The same dream')))
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
  t.equal(emulator.predictions.length, taskIds.length)
  const videos = await Promise.all(taskIds.map(async (taskId) => (await statusOf(app, taskId)).video_url))
  t.equal(new Set(videos).size, taskIds.length)
})

t.test('if no search succeeds before the deadline, the task fails with submission_unknown and is not submitted again', async (t) => {
  const { app, emulator } = await startService(t, { env: { TASK_DEADLINE_SECONDS: '7' } })
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  emulator.addFault({ call: 'list', kind: 'status', status: 500, share: 1 })
  t.match(await ended(app, await postDream(app)), { status: 'failed', error_code: 'submission_unknown' })
  t.equal(emulator.calls.create, 1)
})
