import t from 'tap'
import { until } from '../../harness/until.ts'
import { listAroundSubmissions } from '../../services/generation/submission-listing.ts'
import { ended, postDream, startService } from '../support/service.ts'

t.test('a prediction that says it was made in the future proves nothing about how far the list lags', async (t) => {
  const { app, emulator } = await startService(t)
  const { task_id: taskId } = await ended(app, await postDream(app, 'A whale'))
  const task = await app.taskStore.get(taskId)
  // Dates have whole seconds, so Replicate's clock is estimated to half a second, and the prediction could seem to be in the future too.
  await until(() => (app.providerClock.now() ?? 0) > (task?.predictionCreatedAt ?? Infinity), 'the estimated clock to pass the creation')
  const future = new Date(Date.now() + 60_000).toISOString()
  emulator.addDistortion({ members: { created_at: future } })
  for (const dream of ['Another dream', 'A third dream']) await ended(app, await postDream(app, dream))
  if (task === undefined) throw new Error('No task')
  const submission = { startedAt: Date.now(), providerStartedAt: null, model: 'luma/ray', input: {}, webhook: null, isAmbiguous: true }
  const open = { taskId: task.id, submission, startedAt: Date.now(), state: 'in_doubt', arrivalMs: 1_000 } as const
  const { predictions, newestCreatedAt, covers } = await listAroundSubmissions([open], { ...app, signal: AbortSignal.timeout(10_000) })
  t.ok(covers(task.id))
  t.ok(predictions.some(({ createdAt }) => createdAt === Date.parse(future)), 'it is in the list')
  t.ok(newestCreatedAt !== null && newestCreatedAt < Date.parse(future))
})
