import t from 'tap'
import { until } from '../../harness/until.ts'
import { predict } from '../support/predict.ts'
import { ended, postDream, startService, statusOf } from '../support/service.ts'

const publicUrl = 'https://dreams.example'

/** Webhooks are asked for, and never arrive: nothing listens at that address. */
const withWebhooks = { PUBLIC_URL: publicUrl, REPLICATE_WEBHOOKS: 'on', REPLICATE_WEBHOOK_SECRET: `whsec_${Buffer.alloc(24).toString('base64')}` }

const promptOf = (dream: string) => `Photorealistic, cinematic, surreal, dreamlike visuals. ${dream}`

t.test('many tasks of one dream with lost responses use every prediction that was created, with few calls', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 500 } })
  emulator.addFault({ call: 'create', kind: 'reset_after', share: 0.3 })
  emulator.addFault({ call: 'list', kind: 'status', status: 500, share: 0.05 })
  emulator.addFault({ call: 'get', kind: 'status', status: 500, share: 0.05 })
  const taskIds = await Promise.all(Array.from({ length: 80 }, () => postDream(app, 'The same dream')))
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
  t.equal(emulator.predictions.length, taskIds.length)
  const videos = await Promise.all(taskIds.map(async (taskId) => (await statusOf(app, taskId)).video_url))
  t.equal(new Set(videos).size, taskIds.length)
  t.ok(emulator.calls.list < 80, `${emulator.calls.list} pages`)
})

t.test('a lost answer costs no prediction of another client, which asks for the same at the same time', async (t) => {
  let skewMs = -20_000
  const { app, emulator, apiUrl } = await startService(t, { emulator: { generationMs: 3_000, now: () => Date.now() + skewMs } })
  const older = await predict(apiUrl, { prompt: promptOf('A whale'), aspect_ratio: '9:16' })
  skewMs = 0
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  const taskId = await postDream(app, 'A whale')
  t.match(await ended(app, taskId), { status: 'completed' })
  const [owner] = [...await app.taskStore.findPredictionOwners(emulator.predictions.map(({ id }) => id))]
  t.equal(owner?.[1], taskId)
  t.not(owner?.[0], older)
  t.equal(emulator.predictions.length, 2)
})

t.test('a canceled task whose prediction is not known has it canceled as soon as a search finds it', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 }, env: withWebhooks })
  emulator.addFault({ call: 'list', kind: 'status', status: 500, times: 6 })
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  const taskId = await postDream(app)
  await until(() => emulator.predictions.length === 1 || undefined, 'the create')
  await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })
  await until(() => emulator.predictions[0]?.status === 'canceled' || undefined, 'the prediction to be canceled')
  t.match(await statusOf(app, taskId), { status: 'failed', error_code: 'canceled' })
  await until(async () => (await app.taskStore.listUnresolvedSubmissions(Date.now())).length === 0 || undefined, 'nothing to be left to search for')
})

t.test('a dream that is canceled and asked for again has its video, and no prediction is left unused', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 3_000 } })
  // The answer to the first create takes until after the cancel; the second one never arrives.
  emulator.addFault({ call: 'create', kind: 'slow', ms: 1_500 })
  emulator.addFault({ call: 'create', kind: 'reset_before' })
  const first = await postDream(app, 'A whale')
  await until(() => emulator.predictions.length === 1 || undefined, 'the first create')
  await app.inject({ method: 'POST', url: `/video-status/${first}/cancel` })
  const second = await postDream(app, 'A whale')
  t.match(await ended(app, second), { status: 'completed' })
  // The first prediction may serve the second task: then it is not canceled, although its own task was.
  const owners = await app.taskStore.findPredictionOwners(emulator.predictions.map(({ id }) => id))
  await until(() => emulator.predictions.every(({ id, status }) => status === (owners.get(id) === second ? 'succeeded' : 'canceled')) || undefined, 'each to be used or canceled')
})

t.test('a prediction that another task uses is not canceled as unwanted', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { generationMs: 3_000 } })
  emulator.addFault({ call: 'create', kind: 'slow', ms: 2_500 })
  emulator.addFault({ call: 'create', kind: 'reset_before' })
  const first = await postDream(app, 'A whale')
  await until(() => emulator.predictions.length === 1 || undefined, 'the first create')
  const second = await postDream(app, 'A whale')
  await until(() => emulator.calls.create === 2 || undefined, 'the second create')
  const [prediction] = emulator.predictions
  const adopting = await until(async () => {
    const task = await app.taskStore.get(second)
    return task?.submission?.isAmbiguous ? task : undefined
  }, 'the second task to be in doubt')
  t.match(await app.taskStore.applyTransition(adopting, { type: 'attach_prediction', predictionId: prediction?.id ?? '', predictionCreatedAt: null }), { outcome: 'applied' })
  await app.inject({ method: 'POST', url: `/video-status/${first}/cancel` })
  t.match(await ended(app, second), { status: 'completed' })
  t.equal(emulator.calls.cancel, 0)
  t.equal(emulator.predictions.length, 1)
})

t.test('a prediction that has failed is taken for the lost one only when no other appears', async (t) => {
  const { app, emulator } = await startService(t)
  emulator.addOutcome({ status: 'failed', error: 'flagged as sensitive (E005)' })
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  t.match(await ended(app, await postDream(app)), { status: 'failed', error_code: 'content_policy' })
  t.equal(emulator.predictions.length, 1)
})

for (const skewMs of [180_000, -180_000]) {
  t.test(`a clock of Replicate that is ${skewMs / 1_000} s ahead makes no second prediction`, async (t) => {
    const { app, emulator } = await startService(t, { emulator: { clockSkewMs: skewMs } })
    emulator.addFault({ call: 'create', kind: 'reset_after', share: 0.5 })
    const taskIds = await Promise.all(Array.from({ length: 12 }, (_, dream) => postDream(app, `Dream ${dream}`)))
    for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
    t.equal(emulator.predictions.length, taskIds.length)
  })
}

t.test('a clock of Replicate that steps while a submission is in doubt makes no second prediction', async (t) => {
  const { app, emulator } = await startService(t)
  emulator.addFault({ call: 'list', kind: 'status', status: 500, times: 5 })
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  const taskId = await postDream(app)
  await until(() => emulator.calls.list > 0 || undefined, 'the first search')
  emulator.clock.skewMs = 300_000
  t.match(await ended(app, taskId), { status: 'completed' })
  t.equal(emulator.predictions.length, 1)
})

t.test('a list that leaves out inputs and webhooks hides no prediction', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { listShowsInput: false, listShowsWebhook: false } })
  emulator.addFault({ call: 'create', kind: 'reset_after', share: 0.5 })
  const taskIds = await Promise.all(Array.from({ length: 12 }, () => postDream(app)))
  for (const taskId of taskIds) t.match(await ended(app, taskId), { status: 'completed' })
  t.equal(emulator.predictions.length, taskIds.length)
})

t.test('a list that lags behind makes no second prediction within REPLICATE_LIST_LAG_MS', async (t) => {
  const { app, emulator } = await startService(t, { emulator: { listLagMs: 9_000 }, env: { REPLICATE_LIST_LAG_MS: '10000' } })
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  t.match(await ended(app, await postDream(app)), { status: 'completed' })
  t.equal(emulator.predictions.length, 1)
})

t.test('if the data of its prediction was removed, a task fails with submission_unknown and is not submitted again', async (t) => {
  const { app, emulator } = await startService(t)
  emulator.addFault({ call: 'list', kind: 'status', status: 500, times: 5 })
  emulator.addFault({ call: 'create', kind: 'reset_before' })
  const withoutPrediction = await postDream(app, 'A dream whose create did not arrive')
  await until(() => emulator.calls.create === 1 || undefined, 'the first create')
  emulator.addFault({ call: 'create', kind: 'reset_after' })
  const taskId = await postDream(app)
  await until(() => emulator.predictions[0]?.status === 'succeeded' || undefined, 'the end of the prediction')
  emulator.wipe()
  t.match(await ended(app, taskId), { status: 'failed', error_code: 'submission_unknown' })
  t.match(await ended(app, withoutPrediction), { status: 'failed', error_code: 'submission_unknown' }, 'the prediction could be that of this task')
  t.equal(emulator.calls.create, 2)
})
