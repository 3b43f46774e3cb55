import t from 'tap'
import { SteadyClock } from '../../services/runtime/steady-clock.ts'

const hour = 3_600_000

function clockOf (wall: { ms: number }) {
  let monotonic = 500
  const clock = new SteadyClock(() => wall.ms, () => monotonic)
  const pass = (ms: number, step = 0) => {
    monotonic += ms
    wall.ms += ms + step
    return clock.now()
  }
  return { clock, pass }
}

t.test('a clock that runs evenly is followed to the millisecond', async (t) => {
  const wall = { ms: 1_000_000 }
  const { clock, pass } = clockOf(wall)
  t.equal(clock.now(), 1_000_000)
  t.equal(pass(1_234), 1_001_234)
})

t.test('a step in either direction is followed by a sixtieth of the elapsed time, until the clocks agree', async (t) => {
  for (const step of [hour, -hour]) {
    const wall = { ms: 10 * hour }
    const { clock, pass } = clockOf(wall)
    clock.now()
    t.equal(pass(60_000, step), 10 * hour + 60_000 + Math.sign(step) * 1_000)
    t.equal(pass(100 * hour), wall.ms, 'a hundred hours later nothing is left of it')
  }
})

t.test('the clock never goes back', async (t) => {
  const { clock, pass } = clockOf({ ms: hour })
  let before = clock.now()
  for (const step of [-40 * 24 * hour, 5, -5, 0, -hour]) {
    const now = pass(10, step)
    t.ok(now >= before)
    before = now
  }
})
