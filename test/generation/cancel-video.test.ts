import t from 'tap'
import { until } from '../../harness/until.ts'
import { cancelVideo } from '../../services/generation/cancel-video.ts'
import { ended, postDream, startService, statusOf } from '../support/service.ts'

type Service = Awaited<ReturnType<typeof startService>>

function cancel ({ app }: Service, taskId: string) {
  const { taskStore, predictionWatch, replicate, log } = app
  return cancelVideo(taskId, { taskStore, predictionWatch, replicate, log })
}

const canceled = { status: 'failed', error_code: 'canceled' }
const allCanceled = ({ emulator }: Service) => until(() =>
  emulator.predictions.every(({ status }) => status === 'canceled' || status === 'aborted') || undefined, 'the predictions to be canceled')

t.test('a waiting task is canceled and never submitted', async (t) => {
  const service = await startService(t, { emulator: { generationMs: 600_000 }, env: { MAX_IN_FLIGHT: '1' } })
  const [first, second] = [await postDream(service.app), await postDream(service.app)]
  await until(() => service.emulator.predictions.length === 1 || undefined, 'the first prediction')
  t.match(await cancel(service, second), { outcome: 'canceled' })
  t.match(await statusOf(service.app, second), canceled)
  t.match(await cancel(service, first), { outcome: 'canceled' })
  await allCanceled(service)
  t.equal(service.emulator.calls.create, 1)
})

t.test('a prediction that is just being created is canceled upstream', async (t) => {
  const service = await startService(t, { emulator: { generationMs: 600_000, latencyMs: 300 } })
  const taskId = await postDream(service.app)
  await until(() => service.emulator.predictions.length === 1 || undefined, 'the create to arrive')
  t.match(await cancel(service, taskId), { outcome: 'canceled' })
  await allCanceled(service)
  t.match(await statusOf(service.app, taskId), canceled)
})

t.test('tasks that are canceled during their submission do not delay others, even while Replicate refuses the cancels', async (t) => {
  const service = await startService(t, { emulator: { generationMs: 600_000, latencyMs: 300 } })
  service.emulator.addFault({ call: 'cancel', kind: 'status', status: 500, share: 1 })
  const taskIds = await Promise.all(Array.from({ length: 32 }, () => postDream(service.app)))
  await until(() => service.emulator.predictions.length === 32 || undefined, 'all creates to be under way')
  for (const taskId of taskIds) t.match(await cancel(service, taskId), { outcome: 'canceled' })
  const other = await postDream(service.app)
  await until(async () => (await statusOf(service.app, other)).status === 'processing' || undefined, 'another task to be submitted')
  service.emulator.clearFaults()
  await until(() => service.emulator.predictions.filter(({ status }) => status === 'canceled').length === 32 || undefined, 'the predictions to be canceled')
})

t.test('a running generation is canceled upstream, even if Replicate fails at the first cancel', async (t) => {
  const service = await startService(t, { emulator: { generationMs: 600_000 } })
  const taskId = await postDream(service.app)
  await until(async () => (await statusOf(service.app, taskId)).status === 'processing' || undefined, 'the prediction')
  service.emulator.addFault({ call: 'cancel', kind: 'status', status: 500 })
  t.match(await cancel(service, taskId), { outcome: 'canceled' })
  await allCanceled(service)
  t.equal(service.emulator.calls.cancel, 2)
})

t.test('of a cancel and a completion exactly one wins', async (t) => {
  const service = await startService(t, { emulator: { generationMs: 30 }, env: { REPLICATE_POLL_INTERVAL_MS: '10' } })
  const taskIds = await Promise.all(Array.from({ length: 30 }, () => postDream(service.app)))
  await until(async () => (await Promise.all(taskIds.map((taskId) => statusOf(service.app, taskId))))
    .some(({ status }) => status === 'completed') || undefined, 'the first completion')
  const outcomes = await Promise.all(taskIds.map((taskId) => cancel(service, taskId)))
  for (const [index, taskId] of taskIds.entries()) {
    const task = await ended(service.app, taskId)
    t.equal(task.status === 'completed', outcomes[index]?.outcome === 'finished')
    t.same(await statusOf(service.app, taskId), task)
  }
})

t.test('a task that has ended stays as it is, and an unknown task is missing', async (t) => {
  const service = await startService(t)
  const taskId = await postDream(service.app)
  const completed = await ended(service.app, taskId)
  t.match(await cancel(service, taskId), { outcome: 'finished' })
  t.same(await statusOf(service.app, taskId), completed)
  t.same(await cancel(service, 'unknown'), { outcome: 'missing' })
})
