import t from 'tap'
import { until } from '../../harness/until.ts'
import { UnclaimedResults } from '../../services/generation/unclaimed-results.ts'
import { parsePrediction, type Prediction } from '../../services/replicate/prediction.ts'

const video = 'https://replicate.delivery/a/out.mp4'

function prediction (id: string, members: object = {}): Prediction {
  const parsed = parsePrediction({ id, status: 'succeeded', output: [{ mp4: video }], logs: 'x'.repeat(200_000), input: { prompt: 'A whale' }, ...members })
  if (parsed === undefined) throw new Error('No prediction')
  return parsed
}

t.test('the members that a verdict needs are kept, without logs and dream', async (t) => {
  const results = new UnclaimedResults({ max: 10, ttlMs: 60_000 })
  const given = prediction('p1', { status: 'failed', error: 'E005', data_removed: true })
  results.keep(given)
  t.same(results.get('p1'), { ...given, output: [video], logs: '', input: null })
  t.equal(results.get('p2'), undefined)
})

t.test('number and size of the results are bounded, and expired ones are removed without being read', async (t) => {
  const results = new UnclaimedResults({ max: 10, ttlMs: 50 })
  results.keep(prediction('large', { output: Array.from({ length: 100 }, (_, file) => `${video}?${file}${'x'.repeat(1_000)}`) }))
  t.equal(results.size, 0, 'read when its turn comes')
  for (let count = 0; count < 30; count++) results.keep(prediction(`p${count}`, { logs: '' }))
  t.equal(results.size, 10)
  await until(() => results.size === 0 || undefined, 'all to be let go')
})
