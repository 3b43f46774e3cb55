import t from 'tap'
import { PostgresWriteBatcher } from '../../services/store/postgres/postgres-write-batcher.ts'
import { until } from '../../harness/until.ts'

/** Writes of numbers, each group held up until it is let go. */
function holdUp (options: { maxBatchSize?: number, timeoutMs?: number } = {}) {
  const groups: Array<{ writes: number[], letGo: (error?: Error) => void }> = []
  const group = new PostgresWriteBatcher<number, number>({
    commit: (writes) => new Promise((resolve, reject) => {
      groups.push({ writes, letGo: (error) => error === undefined ? resolve(writes.map((write) => write * 10)) : reject(error) })
    }),
    keyOf: (write) => String(write % 10),
    maxBatchSize: 10,
    maxConcurrentBatches: 1,
    timeoutMs: Infinity,
    ...options
  })
  return { groups, group }
}

t.test('writes that come while others are under way share the next group, never two of one key', async (t) => {
  const { groups, group } = holdUp()
  const answers = [group.run(1)]
  await until(() => groups.length === 1 || undefined, 'the first group')
  answers.push(group.run(2), group.run(12), group.run(3))
  groups[0]?.letGo()
  await until(() => groups.length === 2 || undefined, 'the second group')
  t.same(groups[1]?.writes, [2, 3])
  groups[1]?.letGo()
  await until(() => groups.length === 3 || undefined, 'the third group')
  groups[2]?.letGo()
  t.same(await Promise.all(answers), [10, 20, 120, 30])
  await group.drain()
})

t.test('a group that fails fails its own writes alone', async (t) => {
  const { groups, group } = holdUp({ maxBatchSize: 1 })
  const failing = group.run(1)
  const next = group.run(2)
  await until(() => groups.length === 1 || undefined, 'the first group')
  groups[0]?.letGo(new Error('away'))
  await t.rejects(failing, { message: 'away' })
  await until(() => groups.length === 2 || undefined, 'the second group')
  groups[1]?.letGo()
  t.equal(await next, 20)
})

t.test('a write that takes too long is refused, and never made where its turn has not come', async (t) => {
  const { groups, group } = holdUp({ timeoutMs: 20 })
  const late = [group.run(1), group.run(11)].map((write) => t.rejects(write, { name: 'StoreUnavailableError' }))
  await Promise.all(late)
  t.same(groups.map(({ writes }) => writes), [[1]])
  groups[0]?.letGo()
  await group.drain()
  t.equal(groups.length, 1)
})
