import t from 'tap'
import { ProviderClock } from '../../services/replicate/provider-clock.ts'

function clockWithLog () {
  const lines: Array<{ level: string, skew: number }> = []
  const say = (level: string) => (details: object) => { lines.push({ level, skew: Number(Object(details).skew_s) }) }
  const log = { debug () {}, info: say('info'), warn: say('warn'), error: say('error') }
  return { clock: new ProviderClock({ now: Date.now, log }), lines }
}

/** An answer that has just come, written by a clock that is so far ahead of ours. */
function answerNow (clock: ProviderClock, skewMs: number): void {
  const at = performance.now()
  clock.observe(new Date(Date.now() + skewMs).toUTCString(), { sentAt: at - 5, receivedAt: at })
}

const skewOf = (clock: ProviderClock) => (clock.now() ?? NaN) - Date.now()

t.test('nothing is known before the first answer, nor from a header that is no date', async (t) => {
  const { clock, lines } = clockWithLog()
  for (const date of [undefined, '', 'yesterday', ['a', 'b']]) clock.observe(date, { sentAt: 0, receivedAt: 1 })
  t.equal(clock.now(), null)
  t.same(lines, [])
})

t.test('the clock is known to about a second, whatever ours shows', async (t) => {
  for (const skewMs of [0, 180_000, -180_000]) {
    const { clock } = clockWithLog()
    answerNow(clock, skewMs)
    t.ok(Math.abs(skewOf(clock) - skewMs) < 1_100, `${skewOf(clock)} for ${skewMs}`)
  }
})

t.test('a large difference is warned of once, and so is its end', async (t) => {
  const { clock, lines } = clockWithLog()
  for (const skewMs of [0, 2_000, 180_000, 180_000, 181_000, 0, 0]) answerNow(clock, skewMs)
  t.same(lines.map(({ level }) => level), ['warn', 'info'])
  t.ok(Math.abs((lines[0]?.skew ?? 0) - 180) <= 2)
})
