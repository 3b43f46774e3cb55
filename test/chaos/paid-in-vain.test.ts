import t from 'tap'
import { extras, readExtras } from '../../chaos/extras.ts'
import { describeAccount, describePredictions, reconcile, type PaidPrediction } from '../../chaos/paid-in-vain.ts'
import type { TaskEnd } from '../../chaos/task-ends.ts'
import { startEmulator } from '../support/service.ts'

const dream = '[dream u1] a whale'

/** @param end  the id of the prediction whose video the task was given, the error code with which it failed, or `lost` for its video */
function task (end: { video: string } | { error: string } | 'lost'): TaskEnd {
  return {
    id: 't',
    key: 'u1',
    error: end !== 'lost' && 'error' in end ? end.error : null,
    given: end !== 'lost' && 'video' in end ? end.video : undefined,
    isVideoLost: end === 'lost'
  }
}

function prediction (id: string, traits: Partial<PaidPrediction> = {}): PaidPrediction {
  return { id, key: 'u1', isForeign: false, hasWebhook: false, output: 'video', isWiped: false, isPaid: true, history: '', ...traits }
}

function reconcileOne (tasks: TaskEnd[], predictions: PaidPrediction[]) {
  const [{ inVain, unused, failedForNothing } = { inVain: NaN, unused: [], failedForNothing: NaN }] = reconcile(tasks, predictions)
  return { inVain, unused: unused.map(({ id }) => id), failedForNothing }
}

const nothing = { inVain: 0, unused: [], failedForNothing: 0 }

t.test('a prediction is used by the task that was given its video, or that failed as the prediction did', async (t) => {
  t.same(reconcileOne([task({ video: 'a' }), task({ error: 'provider_error' })], [prediction('a'), prediction('b', { isPaid: false })]), nothing)
})

t.test('a video that no task was given is paid in vain, with any error code of the tasks', async (t) => {
  for (const error of ['submission_unknown', 'deadline_exceeded', 'provider_unavailable']) {
    t.same(reconcileOne([task({ error })], [prediction('a')]), { inVain: 1, unused: ['a'], failedForNothing: 0 }, error)
  }
  t.same(reconcileOne([], [prediction('a')]), { inVain: 1, unused: ['a'], failedForNothing: 0 })
})

t.test('a task may have the video of another client instead of its own if neither prediction has a webhook', async (t) => {
  const foreign = prediction('f', { isForeign: true })
  t.same(reconcileOne([task({ video: 'a' })], [prediction('a'), foreign]), nothing, 'a foreign video is never in vain')
  for (const own of [prediction('a'), prediction('a', { isPaid: false })]) {
    t.same(reconcileOne([task({ video: 'f' })], [own, foreign]), nothing)
    t.same(reconcileOne([task({ video: 'f' })], [{ ...own, hasWebhook: true }, foreign]), { inVain: 1, unused: ['a'], failedForNothing: 0 })
    t.same(reconcileOne([task({ video: 'f' })], [own, { ...foreign, hasWebhook: true }]), { inVain: 1, unused: ['a'], failedForNothing: 0 })
  }
  t.match(reconcileOne([task({ video: 'f' })], [prediction('a'), prediction('b'), foreign]), { inVain: 1, unused: ['a', 'b'] })
  t.match(reconcileOne([task({ video: 'f' })], [prediction('a'), prediction('b', { isPaid: false }), foreign]), { inVain: 1, unused: ['b'] })
})

t.test('a task may fail as the prediction of another client did, but each failure is one excuse', async (t) => {
  const foreign = prediction('f', { isForeign: true, output: 'no video', isPaid: false })
  const failed = task({ error: 'no_output' })
  t.same(reconcileOne([failed], [prediction('a'), foreign]), nothing)
  t.match(reconcileOne([failed], [prediction('a'), { ...foreign, hasWebhook: true }]), { inVain: 1 })
  t.match(reconcileOne([failed], [prediction('a', { hasWebhook: true }), foreign]), { inVain: 1 })
  t.match(reconcileOne([failed], [prediction('a'), prediction('b', { isPaid: false }), foreign]), { inVain: 1, unused: ['b'] })
  t.match(reconcileOne([task({ error: 'canceled' })], [prediction('a'), prediction('b'), foreign]), { inVain: 1 })
})

t.test('the account of a dream names how each task and each unused prediction has ended', async (t) => {
  const [account] = reconcile(
    [task({ video: 'f' }), task({ error: 'canceled' }), task('lost')],
    [prediction('a', { history: 'created then' }), prediction('f', { isForeign: true }), prediction('g', { isForeign: true }), prediction('w', { isPaid: false, isWiped: true })]
  )
  t.same(account && describeAccount(account), [
    'task t has the video of f', 'task t canceled', 'task t lost its video',
    'prediction a unused, paid: output video, created then',
    'prediction f of another client, paid: output video, ',
    'prediction w unused: output video, wiped, '
  ])
})

t.test('each cancelled task excuses one unused prediction of its dream', async (t) => {
  t.same(reconcileOne([task({ error: 'canceled' }), task({ video: 'b' })], [prediction('a'), prediction('b')]), nothing)
  t.match(reconcileOne([task({ error: 'canceled' })], [prediction('a'), prediction('b')]), { inVain: 1, unused: ['a', 'b'] })
})

t.test('a prediction without a video is in vain if no failed task may have had it', async (t) => {
  t.same(reconcileOne([task({ video: 'a' })], [prediction('a'), prediction('b', { isPaid: false })]), { inVain: 1, unused: ['b'], failedForNothing: 0 })
})

t.test('a task that failed with a verdict that no prediction gave has failed for nothing', async (t) => {
  t.same(reconcileOne([task({ error: 'canceled' }), task({ error: 'provider_error' })], [prediction('a')]), { inVain: 0, unused: [], failedForNothing: 1 })
})

t.test('a prediction that was wiped is used by a task that lost its video, and by no other', async (t) => {
  const wiped = prediction('a', { isWiped: true, isPaid: false })
  t.same(reconcileOne([task('lost')], [wiped]), nothing)
  t.same(reconcileOne([task({ error: 'storage_failed' })], [wiped]), nothing)
  t.same(reconcileOne([task('lost')], [prediction('a')]), { inVain: 1, unused: ['a'], failedForNothing: 1 })
  t.match(reconcileOne([task('lost'), task('lost')], [wiped]), { failedForNothing: 1 })
})

t.test('a prediction is paid for if it has a video, or if it was cancelled after it began', async (t) => {
  const { emulator } = await startEmulator(t, { generationMs: 60_000, startingMs: 0 })
  const create = () => emulator.create({ model: 'm/m', version: 'hidden', input: { prompt: dream }, webhook: undefined, webhookEvents: undefined, cancelAfterMs: undefined }, '')
  const cancelled = new Set<string>()
  create()
  emulator.addOutcome({ status: 'succeeded', output: 'no address' })
  create()
  emulator.addOutcome({ status: 'failed' })
  create()
  const stopped = create()
  stopped.endsAt = emulator.now() + 1
  cancelled.add(stopped.id)
  emulator.settings.startingMs = 60_000
  const unbegun = create()
  emulator.end(unbegun, { status: 'canceled' })
  cancelled.add(unbegun.id)
  emulator.settings.startingMs = 0
  emulator.makeForeign(stopped, { ms: -1 })
  emulator.addOutcome({ status: 'succeeded', video: { content: 'html' } })
  create()
  emulator.addOutcome({ status: 'succeeded', video: { bytes: 100 } })
  create()
  const wiped = create()
  wiped.endsAt = emulator.now()
  wiped.keptMs = 0
  t.match(describePredictions(emulator, cancelled)[3]?.history, /^created \S+Z \(shown \S+Z\), began \S+Z, ended \S+Z succeeded by a call, kept for \d+ ms, webhook none$/)
  t.same(describePredictions(emulator, cancelled).map(({ key, isPaid, isForeign, output, isWiped }) => [key, isPaid, isForeign, output, isWiped]), [
    ['u1', true, false, 'video', false],
    ['u1', false, false, 'nothing', false],
    ['u1', false, false, 'nothing', false],
    ['u1', true, false, 'video', false],
    ['u1', false, false, 'nothing', false],
    ['u1', true, true, 'video', false],
    ['u1', false, false, 'no video', false],
    ['u1', false, false, 'no video', false],
    ['u1', false, false, 'video', true]
  ])
})

t.test('extras are named one by one, or all at once', async (t) => {
  t.same([...readExtras('all')], extras)
  t.same([...readExtras('none')], [])
  t.same([...readExtras('clock-steps,list-lag')], ['clock-steps', 'list-lag'])
  t.throws(() => readExtras('clock-steps,unknown'), /some of same-dreams,.*not "unknown"/)
})
