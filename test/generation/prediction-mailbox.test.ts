import t from 'tap'
import { PredictionMailbox, type PredictionUpdate } from '../../services/generation/prediction-mailbox.ts'
import { parsePrediction } from '../../services/replicate/prediction.ts'

function found (status: string): PredictionUpdate {
  const prediction = parsePrediction({ id: 'p1', status })
  if (prediction === undefined) throw new Error('No prediction')
  return { outcome: 'found', prediction }
}

const taskChanged: PredictionUpdate = { outcome: 'task_changed' }
const never = new AbortController().signal

function takeAll (mailbox: PredictionMailbox): PredictionUpdate[] {
  const updates: PredictionUpdate[] = []
  for (let update = mailbox.take(); update !== undefined; update = mailbox.take()) updates.push(update)
  return updates
}

t.test('a newer update replaces an older one of its kind, in the place of the older one', async (t) => {
  const mailbox = new PredictionMailbox()
  for (const update of [found('starting'), taskChanged, found('processing'), taskChanged]) mailbox.put(update)
  t.same(takeAll(mailbox), [found('processing'), taskChanged])
  t.same(takeAll(mailbox), [])
})

t.test('the end of a prediction is never replaced', async (t) => {
  const mailbox = new PredictionMailbox()
  for (const update of [found('succeeded'), found('processing')]) mailbox.put(update)
  t.same(takeAll(mailbox), [found('succeeded')])
})

t.test('a wait ends with an update, at its time, or with an abort', async (t) => {
  const mailbox = new PredictionMailbox()
  const update = mailbox.wait(600_000, never)
  mailbox.put(taskChanged)
  await update
  await mailbox.wait(1, never)
  const controller = new AbortController()
  const aborted = mailbox.wait(600_000, controller.signal)
  controller.abort(new Error('Stopping'))
  await t.rejects(aborted, { message: 'Stopping' })
  await t.rejects(mailbox.wait(1, controller.signal), { message: 'Stopping' })
})
