import t from 'tap'
import { HostLimiter } from '../../services/callbacks/host-limiter.ts'

t.test('a host has its permits and as many waiting callers, and the others are told when to try again', async (t) => {
  const limiter = new HostLimiter({ maxPerHost: 2, now: () => 0 })
  t.equal(await limiter.acquire('a'), undefined)
  t.equal(await limiter.acquire('a'), undefined)
  const waiting = [limiter.acquire('a'), limiter.acquire('a')]
  t.same([await limiter.acquire('a'), await limiter.acquire('a')], [{ inMs: 300 }, { inMs: 400 }], 'at the assumed pace of two in 200 ms')
  t.equal(await limiter.acquire('b'), undefined, 'another host has its own')
  t.equal(limiter.release('a', 200), false)
  t.equal(await waiting[0], undefined)
  t.equal(limiter.release('a', 200), false)
  t.equal(await waiting[1], undefined)
  t.equal(limiter.release('a', 200), true, 'there is room for those who were sent away')
  t.equal(limiter.release('a', 200), true)
  t.equal(limiter.release('b', 200), false)
})

t.test('while a host hangs, further callers are told to try again later and later, up to ten minutes', async (t) => {
  const limiter = new HostLimiter({ maxPerHost: 1, now: () => 0 })
  await limiter.acquire('a')
  const next = limiter.acquire('a')
  limiter.release('a', 10_000)
  await next
  const waits: number[] = []
  limiter.acquire('a').catch(() => undefined)
  for (let count = 0; count < 1_000; count++) waits.push((await limiter.acquire('a'))?.inMs ?? 0)
  t.same(waits, waits.toSorted((a, b) => a - b))
  t.ok(waits[0] !== undefined && waits[0] > 4_000 && waits.at(-1) === 600_000, `${waits[0]} to ${waits.at(-1)}`)
})

t.test('on close waiting callers are told to try again at once', async (t) => {
  const limiter = new HostLimiter({ maxPerHost: 1, now: () => 0 })
  await limiter.acquire('a')
  const waiting = limiter.acquire('a')
  limiter.close()
  t.same(await waiting, { inMs: 0 })
  t.same(await limiter.acquire('b'), { inMs: 0 })
  t.equal(limiter.release('a', 1), false)
})
