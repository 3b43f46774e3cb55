import t from 'tap'
import { LocalCallBudget } from '../../services/rate-limit/call-budget.ts'
import { CallLimiter } from '../../services/rate-limit/call-limiter.ts'

const now = () => performance.now()
const log = { debug () {}, info () {}, warn () {}, error () {} }
const createLimiter = (perMinute: number) => new CallLimiter({ budget: new LocalCallBudget({ perMinute, now }), log })
const silent = { exceeded: false, remaining: null, resetMs: null, retryAfterMs: null }

// A limiter keeps no process alive by itself.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

async function startCalls (limiter: CallLimiter, calls: number): Promise<void> {
  await Promise.all(Array.from({ length: calls }, () => limiter.acquire()))
}

t.test('calls start in their order, and evenly once the burst is used up', async (t) => {
  const limiter = createLimiter(6_000)
  const order: number[] = []
  const startedAt = now()
  await Promise.all(Array.from({ length: 520 }, async (_, call) => {
    await limiter.acquire()
    order.push(call)
    limiter.release()
  }))
  t.same(order, order.toSorted((a, b) => a - b))
  t.ok(now() - startedAt >= 150, '20 calls beyond the burst of 500 take 10 ms each')
})

t.test('no call starts while the provider asks to wait', async (t) => {
  for (const limits of [{ ...silent, exceeded: true, retryAfterMs: 80 }, { ...silent, remaining: 0, resetMs: 80 }]) {
    const limiter = createLimiter(1_000_000)
    await limiter.acquire()
    limiter.observe(limits)
    limiter.release()
    t.ok(limiter.isBlocked)
    await limiter.acquire()
    t.notOk(limiter.isBlocked)
  }
})

t.test('calls under way count against the calls that the provider says are left', async (t) => {
  const limiter = createLimiter(1_000_000)
  await startCalls(limiter, 3)
  limiter.observe({ ...silent, remaining: 3, resetMs: 60_000 })
  limiter.release()
  await limiter.acquire()
  t.ok(limiter.isBlocked, 'two calls under way and this one are the three that were left')
})

t.test('a caller whose signal aborts leaves the queue', async (t) => {
  const limiter = createLimiter(1_000_000)
  await limiter.acquire()
  limiter.observe({ ...silent, retryAfterMs: 50 })
  limiter.release()
  const controller = new AbortController()
  const left = limiter.acquire(controller.signal)
  const next = limiter.acquire()
  controller.abort(new Error('gone'))
  await t.rejects(left, { message: 'gone' })
  await next
  await t.rejects(async () => limiter.acquire(controller.signal), { message: 'gone' })
})
