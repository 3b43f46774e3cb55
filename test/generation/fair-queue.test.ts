import t from 'tap'
import { until } from '../../harness/until.ts'
import { keyList, newTestKey, type TestKey } from '../support/api-keys.ts'
import { slow } from '../support/quick.ts'
import { startService } from '../support/service.ts'

t.test('the flood of one key does not hold up another key, and is not held up by the flood of that one', slow, async (t) => {
  const [flood, quiet] = [newTestKey('flood'), newTestKey('quiet')]
  // 25 creates at once, then 5 in a second. The gate has room for 64 tasks.
  const { app, emulator } = await startService(t, { env: { API_KEYS: keyList([flood, quiet]), REPLICATE_CREATES_PER_MINUTE: '300', LOG_LEVEL: 'error' } })
  const post = async ({ headers }: TestKey, dream: string) => {
    const { statusCode } = await app.inject({ method: 'POST', url: '/generate-video', query: { dream, style: 'Realistic' }, headers })
    t.equal(statusCode, 200)
  }
  const dreams = () => emulator.predictions.map(({ input }) => String(input.prompt))
  const isQuiet = (prompt: string) => prompt.includes('A quiet dream')

  await Promise.all(Array.from({ length: 130 }, () => post(flood, 'A flood')))
  await until(() => dreams().length >= 25 || undefined, 'the burst')
  await post(quiet, 'A quiet dream')
  const before = dreams().length
  const turn = await until(() => dreams().findIndex(isQuiet) + 1 || undefined, 'the quiet key to have its turn')
  // A few more than are under way, because a slow machine sends several at once.
  t.ok(turn <= before + 12, `it is prediction ${turn}, and was asked for after prediction ${before}`)

  t.ok(dreams().length < 100, 'the flood still waits')
  await Promise.all(Array.from({ length: 20 }, () => post(quiet, 'A quiet dream')))
  // Counted from the first of the twenty: on a slow machine, several are sent before all of them are stored.
  const taken = await until(() => {
    const sent = dreams()
    const first = sent.findIndex((dream, index) => index >= turn && isQuiet(dream))
    return first >= 0 && sent.length >= first + 24 ? sent.slice(first, first + 24) : undefined
  }, 'more predictions', { timeoutMs: 30_000 })
  const quietOnes = taken.filter(isQuiet).length
  t.ok(quietOnes >= 6 && quietOnes <= 16, `${quietOnes} of 24 are of the key that came later`)
})
