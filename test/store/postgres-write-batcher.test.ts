import t from 'tap'
import { until } from '../../harness/until.ts'
import { PostgresWriteBatcher } from '../../services/store/postgres/postgres-write-batcher.ts'

/** A batcher of numbers. A commit ends when the test calls `finish` of its batch. */
function createBatcher (options: { maxBatchSize?: number, timeoutMs?: number } = {}) {
  const batches: Array<{ writes: number[], finish: (error?: Error) => void }> = []
  const batcher = new PostgresWriteBatcher<number, number>({
    commit: (writes) => new Promise((resolve, reject) => {
      batches.push({ writes, finish: (error) => error === undefined ? resolve(writes.map((write) => write * 10)) : reject(error) })
    }),
    keyOf: (write) => String(write % 10),
    maxBatchSize: 10,
    maxConcurrentBatches: 1,
    timeoutMs: Infinity,
    ...options
  })
  return { batches, batcher }
}

t.test('writes that arrive during a commit share the next batch, but never two of one key', async (t) => {
  const { batches, batcher } = createBatcher()
  const answers = [batcher.run(1)]
  await until(() => batches.length === 1 || undefined, 'the first batch')
  answers.push(batcher.run(2), batcher.run(12), batcher.run(3))
  batches[0]?.finish()
  await until(() => batches.length === 2 || undefined, 'the second batch')
  t.same(batches[1]?.writes, [2, 3])
  batches[1]?.finish()
  await until(() => batches.length === 3 || undefined, 'the third batch')
  batches[2]?.finish()
  t.same(await Promise.all(answers), [10, 20, 120, 30])
  await batcher.drain()
})

t.test('a failed batch fails only its own writes', async (t) => {
  const { batches, batcher } = createBatcher({ maxBatchSize: 1 })
  const failing = batcher.run(1)
  const next = batcher.run(2)
  await until(() => batches.length === 1 || undefined, 'the first batch')
  batches[0]?.finish(new Error('unavailable'))
  await t.rejects(failing, { message: 'unavailable' })
  await until(() => batches.length === 2 || undefined, 'the second batch')
  batches[1]?.finish()
  t.equal(await next, 20)
})

t.test('a write that exceeds the timeout is refused, and is not made if its batch has not begun', async (t) => {
  const { batches, batcher } = createBatcher({ timeoutMs: 20 })
  const late = [batcher.run(1), batcher.run(11)].map((write) => t.rejects(write, { name: 'StoreUnavailableError' }))
  await Promise.all(late)
  t.same(batches.map(({ writes }) => writes), [[1]])
  batches[0]?.finish()
  await batcher.drain()
  t.equal(batches.length, 1)
})
