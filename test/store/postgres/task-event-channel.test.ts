import t, { type Test } from 'tap'
import { createPostgresTaskStore } from '../../../services/store/postgres/postgres-task-store.ts'
import { newTask } from '../../../services/tasks/task.ts'
import type { TaskEvent } from '../../../services/store/task-event.ts'
import { databaseError, onStatements } from '../../support/pg-statements.ts'
import { createDatabase } from '../../support/postgres.ts'
import { until } from '../../../harness/until.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }

/** A store that tells and one that hears. */
async function openTwo (t: Test) {
  const databaseUrl = await createDatabase(t)
  const [teller, hearer] = [await createPostgresTaskStore({ databaseUrl, log }), await createPostgresTaskStore({ databaseUrl, log })]
  t.teardown(() => Promise.all([teller.close(), hearer.close()]))
  const heard: TaskEvent[] = []
  hearer.onEvent((news) => heard.push(news))
  const hasHeard = (kind: string, taskId: string) => heard.some((news) => news.kind === kind && 'taskIds' in news && news.taskIds.includes(taskId))
  const create = () => teller.create(newTask('A whale', 'Cursed', 840, Date.now()))
  return { teller, create, heard, hasHeard }
}

t.test('news of a move, a deletion and a prompt is heard elsewhere, and none is sent within a transaction', async (t) => {
  const { teller, create, hasHeard } = await openTwo(t)
  const task = await create()
  const inTransaction = new Set<object>()
  const texts: Array<{ text: string, isInTransaction: boolean }> = []
  onStatements(t, (text, client) => {
    if (text === 'BEGIN') inTransaction.add(client)
    if (text === 'COMMIT' || text === 'ROLLBACK') inTransaction.delete(client)
    texts.push({ text, isInTransaction: inTransaction.has(client) })
    return undefined
  })
  const moved = await teller.applyTransition(task, { type: 'fail', failure: 'canceled' })
  await until(() => hasHeard('changed', task.id) || undefined, 'the move to be heard of')
  await teller.requestPoll([task.id])
  await until(() => hasHeard('poll_requested', task.id) || undefined, 'the prompt')
  const removed = await create()
  const failed = await teller.applyTransition(removed, { type: 'fail', failure: 'canceled' })
  if (failed.outcome !== 'applied' || moved.outcome !== 'applied') throw new Error('Not moved')
  await teller.remove(failed.task)
  await until(() => hasHeard('changed', removed.id) || undefined, 'the deletion to be heard of')
  const told = texts.filter(({ text }) => text.includes('pg_notify'))
  t.ok(told.length >= 3)
  t.same(told.filter(({ isInTransaction }) => isInTransaction), [])
  t.ok(texts.some(({ text, isInTransaction }) => isInTransaction && text.startsWith('update task')), 'transactions are seen')
})

t.test('what happens in one turn is told in one statement, each payload below 8,000 bytes', async (t) => {
  const { teller, hasHeard } = await openTwo(t)
  const taskIds = Array.from({ length: 450 }, () => newTask('A whale', 'Cursed', 840, Date.now()).id)
  const payloads: string[][] = []
  onStatements(t, (text, _client, values) => {
    if (text.includes('pg_notify')) payloads.push((values as [string, string[]])[1])
    return undefined
  })
  await Promise.all(taskIds.map((taskId) => teller.requestPoll([taskId])))
  await until(() => taskIds.every((taskId) => hasHeard('poll_requested', taskId)) || undefined, 'all of them')
  t.equal(payloads.length, 1)
  t.ok(payloads.flat().every((payload) => Buffer.byteLength(payload) < 8_000))
})

t.test('news that could not be sent arrives when the database is back, and too much of it makes everything be read', async (t) => {
  const { teller, create, heard, hasHeard } = await openTwo(t)
  const task = await create()
  let refused = 0
  let isAway = true
  onStatements(t, (text) => {
    if (!isAway || !text.includes('pg_notify')) return undefined
    refused++
    return { error: databaseError('ECONNRESET'), isSent: false }
  })
  t.match(await teller.applyTransition(task, { type: 'fail', failure: 'canceled' }), { outcome: 'applied' })
  await until(() => refused > 1 || undefined, 'the news to be refused')
  isAway = false
  await until(() => hasHeard('changed', task.id) || undefined, 'the news to arrive')
  heard.length = 0
  await teller.requestPoll(Array.from({ length: 10_001 }, (_, index) => `task-${index}`))
  await until(() => heard.some(({ kind }) => kind === 'resync') || undefined, 'everything to be read')
  t.notOk(heard.some(({ kind }) => kind === 'poll_requested'))
})

t.test('a store that closes sends its last news, and does not wait for ever for a database that is away', async (t) => {
  const { teller, create, hasHeard } = await openTwo(t)
  const task = await create()
  await teller.applyTransition(task, { type: 'fail', failure: 'canceled' })
  await teller.close()
  await until(() => hasHeard('changed', task.id) || undefined, 'the last news')
  const away = await openTwo(t)
  onStatements(t, (text) => text.includes('pg_notify') ? { error: databaseError('ECONNRESET'), isSent: false } : undefined)
  await away.teller.requestPoll([task.id])
  await away.teller.close()
})
