import t from 'tap'
import { describeActivity } from '../../services/live-status/task-activity.ts'
import type { TaskCount } from '../../services/store/task-store.ts'

const presentMinute = 30_000_000
const now = presentMinute * 60_000 + 20_000

/** Minutes count back from the present one. */
function count (state: TaskCount['state'], created: number, ended: number | null, tasks: number): TaskCount {
  const createdMinute = presentMinute - created
  return { state, createdMinute, endedMinute: ended === null ? null : presentMinute - ended, tasks, oldestCreatedAt: createdMinute * 60_000 + 5_000 }
}

t.test('without tasks there are sixty empty minutes, the present one last', (t) => {
  const { history, ...present } = describeActivity([], now)
  t.same(present, { open: 0, inFlight: 0, oldestWaitingSince: null })
  t.same(history, Array.from({ length: 60 }, (_, index) => ({ startsAt: (presentMinute - 59 + index) * 60_000, open: 0, completed: 0, failed: 0 })))
  t.end()
})

t.test('a task is open from the minute of its creation until the minute before its end', (t) => {
  const { history } = describeActivity([count('completed', 3, 1, 4), count('failed', 2, 2, 1)], now)
  t.same(history.slice(-5).map(({ open, completed, failed }) => [open, completed, failed]), [[0, 0, 0], [4, 0, 0], [4, 0, 1], [0, 4, 0], [0, 0, 0]])
  t.end()
})

t.test('open tasks are open until now, those in flight are not waiting, and only the others can be the oldest that waits', (t) => {
  const { open, inFlight, oldestWaitingSince, history } = describeActivity(
    [count('generating', 300, null, 2), count('storing', 1, null, 1), count('submitting', 4, null, 1), count('queued', 2, null, 3)], now)
  t.same({ open, inFlight, oldestWaitingSince }, { open: 7, inFlight: 3, oldestWaitingSince: (presentMinute - 4) * 60_000 + 5_000 })
  t.same(history.slice(-6).map(({ open }) => open), [2, 3, 3, 6, 7, 7])
  t.equal(history[0]?.open, 2, 'it was created before the first minute')
  t.equal(describeActivity([count('generating', 0, null, 1)], now).oldestWaitingSince, null)
  t.end()
})

t.test('what another instance stored with a clock that is ahead belongs to the present minute', (t) => {
  const { open, history } = describeActivity([count('queued', -1, null, 1), count('completed', 2, -1, 1), count('failed', -1, -1, 1)], now)
  t.equal(open, 1)
  t.same(history.slice(-3).map(({ open, completed, failed }) => [open, completed, failed]), [[1, 0, 0], [1, 0, 0], [1, 1, 1]])
  t.end()
})
