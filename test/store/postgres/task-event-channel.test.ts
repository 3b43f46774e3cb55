import t, { type Test } from 'tap'
import { until } from '../../../harness/until.ts'
import { createPostgresTaskStore } from '../../../services/store/postgres/postgres-task-store.ts'
import type { TaskEvent } from '../../../services/store/task-event.ts'
import { newTask } from '../../../services/tasks/task.ts'
import { databaseError, onStatements } from '../../support/pg-statements.ts'
import { createDatabase } from '../../support/postgres.ts'
import { storeTask } from '../../support/store-task.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }

/** A store that sends events and one that receives them. */
async function openTwo (t: Test) {
  const databaseUrl = await createDatabase(t)
  const [sender, receiver] = [await createPostgresTaskStore({ databaseUrl, log }), await createPostgresTaskStore({ databaseUrl, log })]
  t.teardown(() => Promise.all([sender.close(), receiver.close()]))
  const received: TaskEvent[] = []
  receiver.onEvent((event) => received.push(event))
  const hasReceived = (kind: string, taskId: string) => received.some((event) => event.kind === kind && 'taskIds' in event && event.taskIds.includes(taskId))
  const create = () => storeTask(sender, newTask('A whale', 'Cursed', 840, Date.now()))
  return { sender, create, received, hasReceived }
}

t.test('transitions, deletions and poll requests reach other instances, and no event is sent within a transaction', async (t) => {
  const { sender, create, hasReceived } = await openTwo(t)
  const task = await create()
  const inTransaction = new Set<object>()
  const texts: Array<{ text: string, isInTransaction: boolean }> = []
  onStatements(t, (text, client) => {
    if (text === 'BEGIN') inTransaction.add(client)
    if (text === 'COMMIT' || text === 'ROLLBACK') inTransaction.delete(client)
    texts.push({ text, isInTransaction: inTransaction.has(client) })
    return undefined
  })
  const canceled = await sender.applyTransition(task, { type: 'fail', failure: 'canceled' })
  await until(() => hasReceived('changed', task.id) || undefined, 'the event of the transition')
  await sender.requestPoll([task.id])
  await until(() => hasReceived('poll_requested', task.id) || undefined, 'the poll request')
  const removed = await create()
  const failed = await sender.applyTransition(removed, { type: 'fail', failure: 'canceled' })
  if (failed.outcome !== 'applied' || canceled.outcome !== 'applied') throw new Error('Not applied')
  await sender.remove(failed.task)
  await until(() => hasReceived('changed', removed.id) || undefined, 'the event of the deletion')
  const notifications = texts.filter(({ text }) => text.includes('pg_notify'))
  t.ok(notifications.length >= 3)
  t.same(notifications.filter(({ isInTransaction }) => isInTransaction), [])
  t.ok(texts.some(({ text, isInTransaction }) => isInTransaction && text.startsWith('update task')), 'transactions are seen')
})

t.test('events of one turn of the event loop are sent in one statement, with payloads below 8,000 bytes', async (t) => {
  const { sender, hasReceived } = await openTwo(t)
  const taskIds = Array.from({ length: 450 }, () => newTask('A whale', 'Cursed', 840, Date.now()).id)
  const payloads: string[][] = []
  onStatements(t, (text, _client, values) => {
    if (text.includes('pg_notify')) payloads.push((values as [string, string[]])[1])
    return undefined
  })
  await Promise.all(taskIds.map((taskId) => sender.requestPoll([taskId])))
  await until(() => taskIds.every((taskId) => hasReceived('poll_requested', taskId)) || undefined, 'all events')
  t.equal(payloads.length, 1)
  t.ok(payloads.flat().every((payload) => Buffer.byteLength(payload) < 8_000))
})

t.test('events that could not be sent arrive when the database is available again, and too many are replaced by one resync', async (t) => {
  const { sender, create, received, hasReceived } = await openTwo(t)
  const task = await create()
  let refused = 0
  let isUnavailable = true
  onStatements(t, (text) => {
    if (!isUnavailable || !text.includes('pg_notify')) return undefined
    refused++
    return { error: databaseError('ECONNRESET'), isSent: false }
  })
  t.match(await sender.applyTransition(task, { type: 'fail', failure: 'canceled' }), { outcome: 'applied' })
  await until(() => refused > 1 || undefined, 'the event to be refused')
  isUnavailable = false
  await until(() => hasReceived('changed', task.id) || undefined, 'the event to arrive')
  received.length = 0
  await sender.requestPoll(Array.from({ length: 10_001 }, (_, index) => `task-${index}`))
  await until(() => received.some(({ kind }) => kind === 'resync') || undefined, 'the resync')
  t.notOk(received.some(({ kind }) => kind === 'poll_requested'))
})

t.test('a store that closes sends its last events, but does not wait for ever for an unavailable database', async (t) => {
  const { sender, create, hasReceived } = await openTwo(t)
  const task = await create()
  await sender.applyTransition(task, { type: 'fail', failure: 'canceled' })
  await sender.close()
  await until(() => hasReceived('changed', task.id) || undefined, 'the last event')
  const unavailable = await openTwo(t)
  onStatements(t, (text) => text.includes('pg_notify') ? { error: databaseError('ECONNRESET'), isSent: false } : undefined)
  await unavailable.sender.requestPoll([task.id])
  await unavailable.sender.close()
})
