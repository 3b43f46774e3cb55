import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { RequestLimiter } from '../../services/rate-limit/request-limiter.ts'
import type { WindowCounter } from '../../services/rate-limit/window-counter.ts'

const silent = { debug () {}, info () {}, warn () {}, error () {} }
const start = Date.parse('2026-01-01T00:00:00Z')

/** Not by a hook: hooks of the root apply to the tests of all files that run in the same process. */
function useMockTimers (t: Test): void {
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: start })
  t.teardown(() => mock.timers.reset())
}

/** A count that several limiters share. Its window never ends. */
class SharedCount implements WindowCounter {
  calls = 0
  isAvailable = true
  readonly #counts = new Map<string, number>()

  async add (key: string, points: number) {
    this.calls++
    if (!this.isAvailable) throw new Error('unavailable')
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + points)
    return { points: this.#counts.get(key) ?? 0, resetMs: 10_000 }
  }
}

/** How many of these requests one after the other are within the limit. */
async function countAllowed (limiter: RequestLimiter, requests: number, limit: number): Promise<number> {
  let allowed = 0
  for (let request = 0; request < requests; request++) {
    if ((await limiter.count('a', limit)).points <= limit) allowed++
  }
  return allowed
}

t.test('a window begins with the first request, lasts a minute, and is over for all its requests at once', async (t) => {
  useMockTimers(t)
  const limiter = new RequestLimiter({ counter: undefined, log: silent })
  t.same(await limiter.count('a', 2), { points: 1, resetMs: 60_000 })
  mock.timers.tick(20_000)
  t.same(await limiter.count('a', 2), { points: 2, resetMs: 40_000 })
  t.same(await limiter.count('b', 2), { points: 1, resetMs: 60_000 })
  mock.timers.tick(40_000)
  t.same(await limiter.count('a', 2), { points: 1, resetMs: 60_000 })
})

t.test('a clock that is set back or ahead makes no window longer than a minute', async (t) => {
  useMockTimers(t)
  const limiter = new RequestLimiter({ counter: undefined, log: silent })
  await limiter.count('a', 2)
  mock.timers.setTime(start + 30_000)
  mock.timers.reset()
  mock.timers.enable({ apis: ['Date'], now: start - 3_600_000 })
  t.match(await limiter.count('a', 2), { points: 2, resetMs: 60_000 })
  mock.timers.setTime(start + 3_600_000)
  t.match(await limiter.count('a', 2), { points: 1, resetMs: 60_000 })
})

t.test('a small limit is exact on all instances together', async (t) => {
  useMockTimers(t)
  const counter = new SharedCount()
  const [first, second] = [new RequestLimiter({ counter, log: silent }), new RequestLimiter({ counter, log: silent })]
  t.equal(await countAllowed(first, 3, 5), 3)
  t.equal(await countAllowed(second, 9, 5), 2)
  t.equal(await countAllowed(first, 9, 5), 0)
})

t.test('of a large limit one request in a hundredth of it asks for the count of all, and none above the limit', async (t) => {
  useMockTimers(t)
  const counter = new SharedCount()
  const [first, second] = [new RequestLimiter({ counter, log: silent }), new RequestLimiter({ counter, log: silent })]
  await countAllowed(first, 49, 5_000)
  t.equal(counter.calls, 0)
  await countAllowed(first, 4_951, 5_000)
  t.equal(counter.calls, 100)
  const tooMany = await countAllowed(second, 1_000, 5_000)
  t.equal(tooMany, 49, 'the second instance asks at its 50th request')
  t.equal(counter.calls, 101)
})

t.test('requests that arrive while an instance asks are not forgotten', async (t) => {
  useMockTimers(t)
  const counter = new SharedCount()
  const limiter = new RequestLimiter({ counter, log: silent })
  const counts = await Promise.all(Array.from({ length: 500 }, () => limiter.count('a', 200)))
  t.equal(counts.filter(({ points }) => points <= 200).length, 200)
})

t.test('requests at the same time do not count several times what other instances have counted', async (t) => {
  useMockTimers(t)
  const counter = new SharedCount()
  const [first, second] = [new RequestLimiter({ counter, log: silent }), new RequestLimiter({ counter, log: silent })]
  await countAllowed(first, 20, 60)
  const counts = await Promise.all([1, 2, 3].map(() => second.count('a', 60)))
  t.same(counts.map(({ points }) => points), [21, 22, 23])
  t.equal(await countAllowed(second, 50, 60), 37)
})

t.test('what was known of the other instances holds while the count of all is unavailable', async (t) => {
  useMockTimers(t)
  const counter = new SharedCount()
  const [first, second] = [new RequestLimiter({ counter, log: silent }), new RequestLimiter({ counter, log: silent })]
  await countAllowed(first, 3, 5)
  await countAllowed(second, 1, 5)
  counter.isAvailable = false
  t.equal(await countAllowed(second, 5, 5), 1)
})

t.test('while the count of all is unavailable an instance counts alone, which is logged once', async (t) => {
  useMockTimers(t)
  const warnings: string[] = []
  const counter = new SharedCount()
  const limiter = new RequestLimiter({ counter, log: { ...silent, warn: (_details: object, message: string) => { warnings.push(message) } } })
  counter.isAvailable = false
  t.equal(await countAllowed(limiter, 10, 4), 4)
  t.equal(warnings.length, 1)
  mock.timers.tick(60_000)
  counter.isAvailable = true
  t.equal(await countAllowed(limiter, 10, 4), 4)
})
