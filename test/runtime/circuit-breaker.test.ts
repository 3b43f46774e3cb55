import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { CircuitBreaker, type BreakerState, type CircuitBreakerOptions } from '../../services/runtime/circuit-breaker.ts'
import { matchList } from '../support/match-list.ts'

type Reason = 'down' | 'refused'

/** A breaker that opens after three failures and stays open for a millisecond or two, and the states it has taken. */
function createBreaker (t: Test, options: Partial<CircuitBreakerOptions<Reason>> = {}) {
  const over = new AbortController()
  t.teardown(() => over.abort())
  const states: BreakerState[] = []
  const errors: object[] = []
  const log = { debug () {}, info () {}, warn () {}, error: (members: object) => { errors.push(members) } }
  const breaker = new CircuitBreaker<Reason>({
    failureThreshold: 3,
    openBackoff: { firstMs: 1, maxMs: 2 },
    checkRecovery: async () => undefined,
    onChange: (state) => { states.push(state) },
    log,
    signal: over.signal,
    ...options
  })
  return { breaker, states, errors }
}

const isHalfOpen = (breaker: CircuitBreaker<Reason>) => until(() => breaker.state === 'half_open' || undefined, 'the breaker to be half-open')

t.test('consecutive failures open the breaker, and a success in between starts the count again', async (t) => {
  const { breaker, states } = createBreaker(t, { checkRecovery: async (reason) => reason })
  breaker.recordFailure('down')
  breaker.recordFailure('down')
  breaker.recordSuccess()
  breaker.recordFailure('down')
  breaker.recordFailure('down')
  t.equal(breaker.state, 'closed')
  t.equal(breaker.reason, undefined)
  breaker.recordFailure('down')
  t.match(breaker, { state: 'open', reason: 'down', openings: 1 })
  breaker.recordSuccess()
  t.match(breaker, { state: 'closed', reason: undefined, openings: 0 })
  t.same(states, ['open', 'closed'])
})

t.test('one conclusive failure opens the breaker', async (t) => {
  const { breaker } = createBreaker(t)
  breaker.recordFailure('refused', true)
  t.match(breaker, { state: 'open', reason: 'refused' })
})

t.test('a half-open breaker closes with a success of its probe', async (t) => {
  const { breaker, states } = createBreaker(t)
  breaker.recordFailure('refused', true)
  await isHalfOpen(breaker)
  t.equal(breaker.reason, 'refused', 'the reason stays until the breaker is closed')
  breaker.recordSuccess()
  t.same(states, ['open', 'half_open', 'closed'])
})

t.test('a half-open breaker opens again with one failure of its probe', async (t) => {
  const { breaker, states } = createBreaker(t)
  breaker.recordFailure('refused', true)
  await isHalfOpen(breaker)
  breaker.recordFailure('down')
  t.match(breaker, { state: 'open', reason: 'down', openings: 2 })
  await isHalfOpen(breaker)
  t.same(states, ['open', 'half_open', 'open', 'half_open'])
})

t.test('the breaker stays open until recovery is confirmed, for the reason that was found last', async (t) => {
  const answers: Array<Reason | undefined> = ['down', 'refused', undefined]
  const asked: Reason[] = []
  const { breaker, states } = createBreaker(t, {
    checkRecovery: async (reason) => {
      asked.push(reason)
      return answers.shift()
    }
  })
  breaker.recordFailure('down', true)
  await isHalfOpen(breaker)
  t.same(asked, ['down', 'down', 'refused'])
  t.equal(breaker.reason, 'refused')
  t.same(states, ['open', 'half_open'])
})

t.test('failures while the breaker is open change nothing', async (t) => {
  const { breaker } = createBreaker(t, { checkRecovery: async (reason) => reason })
  breaker.recordFailure('down', true)
  breaker.recordFailure('refused', true)
  t.match(breaker, { state: 'open', reason: 'down', openings: 1 })
})

t.test('a check that throws is logged, and the breaker stays open', async (t) => {
  const { breaker, errors } = createBreaker(t, { checkRecovery: async () => { throw new Error('Broken') } })
  breaker.recordFailure('down', true)
  await until(() => errors.length > 0 || undefined, 'the error')
  matchList(t, errors, [{ err: { message: 'Broken' } }])
  t.equal(breaker.state, 'open')
})

t.test('an open breaker stays open after the instance has begun to stop, without an error', async (t) => {
  const stopping = new AbortController()
  let checks = 0
  const { breaker, errors } = createBreaker(t, {
    signal: stopping.signal,
    checkRecovery: async (reason) => {
      if (++checks === 2) stopping.abort()
      return reason
    }
  })
  breaker.recordFailure('down', true)
  await until(() => stopping.signal.aborted || undefined, 'the stop')
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(breaker.state, 'open')
  t.same(errors, [])
})
