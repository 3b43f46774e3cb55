import t from 'tap'
import { isPredictionId, parsePrediction } from '../../services/replicate/prediction.ts'

t.test('a full prediction is parsed, and unknown members are ignored', async (t) => {
  t.same(parsePrediction({
    id: 'gm3qorzdhgbfurvjtvhg6dckhu',
    model: 'luma/ray',
    version: 'hidden',
    input: { prompt: 'A whale' },
    output: ['https://replicate.delivery/a.mp4'],
    logs: 'working',
    error: null,
    status: 'succeeded',
    source: 'api',
    data_removed: false,
    created_at: '2026-11-24T08:00:00.123456Z',
    webhook: 'https://dreams.example/hook',
    metrics: { predict_time: 3 },
    something_new: [1]
  }), {
    id: 'gm3qorzdhgbfurvjtvhg6dckhu',
    status: 'succeeded',
    model: 'luma/ray',
    version: 'hidden',
    input: { prompt: 'A whale' },
    output: ['https://replicate.delivery/a.mp4'],
    logs: 'working',
    error: null,
    source: 'api',
    dataRemoved: false,
    createdAt: Date.UTC(2026, 10, 24, 8, 0, 0, 123),
    webhook: 'https://dreams.example/hook',
    predictSeconds: 3
  })
})

const bare = {
  model: null,
  version: null,
  input: null,
  output: null,
  logs: '',
  error: null,
  source: null,
  dataRemoved: false,
  createdAt: null,
  webhook: null,
  predictSeconds: null
}

t.test('an id and a status are enough, and what is of the wrong type counts as missing', async (t) => {
  t.same(parsePrediction({ id: 'a-B_9', status: 'dreaming' }), { id: 'a-B_9', status: 'dreaming', ...bare })
  t.same(parsePrediction({
    id: 'a', status: '', model: 7, version: {}, input: [], logs: null, source: 1, data_removed: 'yes', created_at: 'noon', webhook: false
  }), { id: 'a', status: '', ...bare })
})

t.test('a time that no prediction can take counts as missing', async (t) => {
  const parse = (metrics: unknown) => parsePrediction({ id: 'a', status: 'succeeded', metrics })?.predictSeconds
  for (const seconds of [0, 0.5, 86_400]) t.equal(parse({ predict_time: seconds }), seconds)
  for (const seconds of [-1, 86_401, 1e300, Infinity, NaN, '3', null]) t.equal(parse({ predict_time: seconds }), null)
  for (const metrics of [null, [], 'none', {}]) t.equal(parse(metrics), null)
})

t.test('an error that is no string is kept as JSON, bounded', async (t) => {
  t.equal(parsePrediction({ id: 'a', status: 'failed', error: { detail: 'NSFW' } })?.error, '{"detail":"NSFW"}')
  t.equal(parsePrediction({ id: 'a', status: 'failed', error: ['x'.repeat(9_000)] })?.error?.length, 2_000)
  t.equal(parsePrediction({ id: 'a', status: 'failed', error: 'y'.repeat(9_000) })?.error?.length, 2_000)
})

t.test('the time of creation is read in every precision', async (t) => {
  for (const fraction of ['', '.1', '.123', '.123456', '.123456789']) {
    const createdAt = parsePrediction({ id: 'a', status: 'x', created_at: `2026-11-24T08:00:00${fraction}Z` })?.createdAt
    t.equal(Math.floor((createdAt ?? 0) / 1000), Date.UTC(2026, 10, 24, 8) / 1000, fraction)
  }
})

t.test('what is no prediction is undefined', async (t) => {
  const long = 'a'.repeat(129)
  for (const value of [undefined, null, 7, 'a', [], {}, { id: 'a' }, { id: 7, status: 'x' }, { id: 'a', status: null },
    ...['', '../a', 'a/b', 'a b', 'a\n', 'ä', long].map((id) => ({ id, status: 'x' }))]) {
    t.equal(parsePrediction(value), undefined, JSON.stringify(value))
  }
  t.equal(isPredictionId('a\n'), false)
  t.equal(isPredictionId('a'.repeat(128)), true)
})
