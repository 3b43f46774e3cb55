import t from 'tap'
import { extras, readExtras } from '../../chaos/extras.ts'
import { balance, madeBy, type Made } from '../../chaos/paid-in-vain.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { startEmulator } from '../support/service.ts'

const dream = '[dream u1] a whale'

/** @param end  the id of the prediction whose video it was given, or the error code with which it failed */
function task (end: { video: string } | { error: string }): TaskView {
  // The boundary: no more than the accounts look at.
  return ('video' in end
    ? { dream, status: 'completed', video_url: `http://127.0.0.1/files/${end.video}/output.mp4`, error_code: null }
    : { dream, status: 'failed', video_url: null, error_code: end.error }) as TaskView
}

function made (id: string, traits: Partial<Made> = {}): Made {
  return { id, key: 'u1', isForeign: false, isPaid: true, ...traits }
}

function account (tasks: TaskView[], predictions: Made[]) {
  const [{ inVain, unused, failedForNothing } = { inVain: NaN, unused: [], failedForNothing: NaN }] = balance(tasks, predictions)
  return { inVain, unused: unused.map(({ id }) => id), failedForNothing }
}

const nothing = { inVain: 0, unused: [], failedForNothing: 0 }

t.test('A prediction is used by the task that was given its video, or that failed as it did', async (t) => {
  t.same(account([task({ video: 'a' }), task({ error: 'provider_error' })], [made('a'), made('b', { isPaid: false })]), nothing)
})

t.test('A video that no task was given is in vain, whatever its tasks failed with', async (t) => {
  for (const error of ['submission_unknown', 'deadline_exceeded', 'provider_unavailable']) {
    t.same(account([task({ error })], [made('a')]), { inVain: 1, unused: ['a'], failedForNothing: 0 }, error)
  }
  t.same(account([], [made('a')]), { inVain: 1, unused: ['a'], failedForNothing: 0 })
})

t.test('A task that took a foreign video leaves its own in vain, and a foreign one never is', async (t) => {
  const foreign = made('f', { isForeign: true })
  t.same(account([task({ video: 'f' })], [made('a'), foreign]), { inVain: 1, unused: ['a'], failedForNothing: 0 })
  t.same(account([task({ video: 'a' })], [made('a'), foreign]), nothing)
})

t.test('Each cancelled task is the reason for one prediction of its dream that is left', async (t) => {
  t.same(account([task({ error: 'canceled' }), task({ video: 'b' })], [made('a'), made('b')]), nothing)
  t.match(account([task({ error: 'canceled' })], [made('a'), made('b')]), { inVain: 1, unused: ['a', 'b'] })
})

t.test('One without a video is in vain where no task failed that may have had it', async (t) => {
  t.same(account([task({ video: 'a' })], [made('a'), made('b', { isPaid: false })]), { inVain: 1, unused: ['b'], failedForNothing: 0 })
})

t.test('A task that fails by a verdict which no prediction gave has failed for nothing', async (t) => {
  t.same(account([task({ error: 'canceled' }), task({ error: 'provider_error' })], [made('a')]), { inVain: 0, unused: [], failedForNothing: 1 })
})

t.test('What was made is judged by how it ended: with a video, without one, or cancelled before or after it began', async (t) => {
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
  t.same(madeBy(emulator, cancelled).map(({ key, isPaid, isForeign }) => [key, isPaid, isForeign]), [
    ['u1', true, false], ['u1', false, false], ['u1', false, false], ['u1', true, false], ['u1', false, false], ['u1', true, true]
  ])
})

t.test('Extras are named one by one, or all at once', async (t) => {
  t.same([...readExtras('all')], extras)
  t.same([...readExtras('none')], [])
  t.same([...readExtras('clock-steps,list-lag')], ['clock-steps', 'list-lag'])
  t.throws(() => readExtras('clock-steps,rain'), /some of same-dreams,.*not "rain"/)
})
