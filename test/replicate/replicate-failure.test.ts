import t from 'tap'
import { classifyMessage, failureFromAnswer, failureFromError } from '../../services/replicate/replicate-failure.ts'

const date = 'Tue, 24 Nov 2026 08:00:00 GMT'

function retryAfter (headers: Record<string, string>, body: unknown = ''): number | null {
  return failureFromAnswer({ status: 429, headers, body: JSON.stringify(body) }).retryAfterMs
}

t.test('the delay is read from the header, the body or the limit, in this order', async (t) => {
  t.equal(retryAfter({ 'retry-after': '7' }, { retry_after: 9 }), 7_000)
  t.equal(retryAfter({ 'retry-after': '0' }), 0)
  t.equal(retryAfter({}, { retry_after: 9 }), 9_000)
  t.equal(retryAfter({}, { retry_after: 0.25 }), 250)
  t.equal(retryAfter({}, { retry_after: '3' }), 3_000)
  t.equal(retryAfter({ 'ratelimit-remaining': '0', 'ratelimit-reset': '12' }, { detail: 'slow down' }), 12_000)
  t.equal(retryAfter({ 'ratelimit-remaining': '1', 'ratelimit-reset': '12' }), null)
  t.equal(retryAfter({}), null)
})

t.test('a Retry-After date is compared with the date of the response', async (t) => {
  t.equal(retryAfter({ 'retry-after': 'Tue, 24 Nov 2026 08:01:30 GMT', date }), 90_000)
  t.equal(retryAfter({ 'retry-after': 'Tue, 24 Nov 2026 07:00:00 GMT', date }), 0)
  t.equal(retryAfter({ 'retry-after': new Date(Date.now() - 60_000).toUTCString() }), 0, 'without one, with the clock here')
})

t.test('the delay has a maximum', async (t) => {
  t.equal(retryAfter({ 'retry-after': '86400' }), 600_000)
  t.equal(retryAfter({ 'retry-after': 'Wed, 25 Nov 2026 08:00:00 GMT', date }), 600_000)
  t.equal(retryAfter({}, { retry_after: 1e9 }), 600_000)
})

t.test('an invalid delay is ignored', async (t) => {
  for (const value of ['', 'soon', '-5', '1e3', '0x10', 'NaN', 'Infinity', 'yesterday GMT']) {
    t.equal(retryAfter({ 'retry-after': value }), null, value)
  }
  for (const value of [null, -1, true, [], {}, [[]]]) t.equal(retryAfter({}, { retry_after: value }), null, JSON.stringify(value))
  t.equal(retryAfter({}, null), null)
  t.equal(retryAfter({ 'retry-after': 'soon' }, { retry_after: 4 }), 4_000, 'the body counts then')
})

t.test('the message of a failure is bounded, on one line, and never empty', async (t) => {
  const answer = { status: 422, headers: {} }
  t.equal(failureFromAnswer({ ...answer, body: '<html>\n  <b>Oh</b>\n</html>' }).message, '<html> <b>Oh</b> </html>')
  t.equal(failureFromAnswer({ ...answer, body: JSON.stringify({ title: 'Bad', detail: 'x'.repeat(9_000) }) }).message.length, 500)
  t.match(failureFromAnswer({ ...answer, body: '' }).message, 'status 422')
  t.match(failureFromAnswer({
    ...answer, body: JSON.stringify({ detail: 'Bad', invalid_fields: [{ field: 'input.seed', description: 'not declared' }] })
  }).message, /Bad.*input\.seed.*not declared/)
})

t.test('a failed request is described by the code of its error', async (t) => {
  const error = Object.assign(new Error('connect failed'), { code: 'ECONNREFUSED' })
  t.same(failureFromError(error), {
    code: 'provider_unavailable', status: null, message: 'ECONNREFUSED: connect failed', retryAfterMs: null
  })
})

t.test('an unknown status is an error of the provider', async (t) => {
  for (const status of [299, 304, 418, 600, 999]) {
    t.match(failureFromAnswer({ status, headers: {}, body: '' }), { code: 'provider_error', status }, String(status))
  }
})

t.test('only a refused input can be against the content policy', async (t) => {
  const body = JSON.stringify({ detail: 'The input was flagged as sensitive (E005)' })
  t.equal(failureFromAnswer({ status: 400, headers: {}, body }).code, 'content_policy')
  t.equal(failureFromAnswer({ status: 401, headers: {}, body }).code, 'provider_account')
  t.equal(failureFromAnswer({ status: 503, headers: {}, body }).code, 'provider_unavailable')
})

t.test('messages of the provider are classified by what they name', async (t) => {
  const cases = {
    'The input or output was flagged as sensitive. Please try again with different inputs. (E005)': 'content_policy',
    'NSFW content detected. Try running it again, or try a different prompt.': 'content_policy',
    'Rejected by moderation': 'content_policy',
    'This prompt violates our content policies': 'content_policy',
    'Prediction interrupted; please retry (code: PA)': 'provider_unavailable',
    'Out of memory (E1001)': 'provider_error',
    'Model names are case-sensitive': undefined,
    'CUDA error: device-side assert triggered': undefined
  }
  for (const [message, code] of Object.entries(cases)) t.equal(classifyMessage(message), code, message)
})

t.test('an answer of any shape is a failure, and never thrown', async (t) => {
  const deep = '['.repeat(30_000) + ']'.repeat(30_000)
  for (const body of ['{"retry_after":{"toString":1}}', `{"invalid_fields":[${deep}]}`, `{"detail":${deep}}`]) {
    t.equal(failureFromAnswer({ status: 429, headers: {}, body }).code, 'provider_rate_limited')
  }
})
