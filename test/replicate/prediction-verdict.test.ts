import t from 'tap'
import { judgePrediction } from '../../services/replicate/prediction-verdict.ts'
import { parsePrediction } from '../../services/replicate/prediction.ts'

const video = 'https://replicate.delivery/xezq/abc/output.mp4'
const context = { apiUrl: 'https://api.replicate.com/v1', now: 1_000_000, deadlineAt: 1_500_000 }

function verdictOf (members: { status: string, [member: string]: unknown }, now = context.now) {
  const prediction = parsePrediction({ id: 'abc', ...members })
  if (prediction === undefined) throw new Error('The test’s prediction is none')
  return judgePrediction(prediction, { ...context, now })
}

t.test('a prediction that has not ended is running, also with an unknown status', async (t) => {
  for (const status of ['starting', 'processing', 'queued', 'SUCCEEDED', '']) {
    t.same(verdictOf({ status, output: video }), { verdict: 'running', progress: null }, status)
  }
  t.same(verdictOf({ status: 'processing', logs: ' 12%|█▏        | 6/50 [00:00<00:02, 16.60it/s]' }), { verdict: 'running', progress: 12 })
})

t.test('a succeeded prediction gives its video, or tells why it cannot', async (t) => {
  t.same(verdictOf({ status: 'succeeded', output: [video] }), { verdict: 'succeeded', videoUrl: video, posterUrl: null })
  const picture = 'https://replicate.delivery/a/thumbnail.jpg'
  t.match(verdictOf({ status: 'succeeded', output: { video, thumbnail: picture } }), { verdict: 'succeeded', videoUrl: video, posterUrl: picture })
  t.match(verdictOf({ status: 'succeeded', output: [video, 'https://evil.example/a.jpg'] }), { verdict: 'succeeded', posterUrl: null })
  t.match(verdictOf({ status: 'succeeded', output: null }), { verdict: 'failed', code: 'no_output' })
  t.match(verdictOf({ status: 'succeeded', output: 'https://replicate.delivery/a.png' }), { verdict: 'failed', code: 'no_output' })
  t.match(verdictOf({ status: 'succeeded', output: null, data_removed: true }), { verdict: 'failed', code: 'no_output' })
  t.match(verdictOf({ status: 'succeeded', output: video, data_removed: true }), { verdict: 'failed', code: 'no_output' })
  t.match(verdictOf({ status: 'succeeded', output: 'https://evil.example/a.mp4' }), { verdict: 'failed', code: 'provider_error' })
})

t.test('a failed prediction is classified by its message', async (t) => {
  const cases = [
    { error: 'The input or output was flagged as sensitive. (E005)', code: 'content_policy' },
    { error: 'NSFW content detected', code: 'content_policy' },
    { error: { code: 'E005' }, code: 'content_policy' },
    { error: 'Prediction interrupted; please retry (code: PA)', code: 'provider_unavailable' },
    { error: 'CUDA out of memory (E1001)', code: 'provider_error' },
    { error: 'Start timed out (E6716)', code: 'provider_error' },
    { error: 'something else', code: 'provider_error' },
    { error: null, code: 'provider_error' },
    { error: '', code: 'provider_error' }
  ]
  for (const { error, code } of cases) t.match(verdictOf({ status: 'failed', error }), { verdict: 'failed', code }, JSON.stringify(error))
})

t.test('the message of a verdict is bounded', async (t) => {
  const verdict = verdictOf({ status: 'failed', error: 'x'.repeat(5_000) })
  t.equal(verdict.verdict === 'failed' && verdict.message.length, 500)
})

t.test('a prediction that was canceled upstream is overdue from shortly before the deadline on, and an error before', async (t) => {
  for (const status of ['canceled', 'aborted']) {
    t.match(verdictOf({ status }), { verdict: 'failed', code: 'provider_error' }, status)
    t.match(verdictOf({ status }, context.deadlineAt - 2_001), { code: 'provider_error' }, status)
    t.match(verdictOf({ status }, context.deadlineAt - 2_000), { code: 'deadline_exceeded' }, status)
    t.match(verdictOf({ status }, context.deadlineAt + 60_000), { code: 'deadline_exceeded' }, status)
  }
})
