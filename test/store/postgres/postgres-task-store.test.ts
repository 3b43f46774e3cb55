import pg from 'pg'
import t from 'tap'
import { until } from '../../../harness/until.ts'
import { transitionTask } from '../../../services/generation/held-task.ts'
import { JobRunner } from '../../../services/generation/job-runner.ts'
import { createPostgresTaskStore } from '../../../services/store/postgres/postgres-task-store.ts'
import { isOpen, newTask } from '../../../services/tasks/task.ts'
import { databaseError, onStatements } from '../../support/pg-statements.ts'
import { createDatabase } from '../../support/postgres.ts'
import { storeTask } from '../../support/store-task.ts'
import { testTaskStore } from '../task-store-contract.ts'

const write = () => {}
const log = { debug: write, info: write, warn: write, error: write }
const openStore = (databaseUrl: string, now = Date.now) => createPostgresTaskStore({ databaseUrl, now, log })

testTaskStore(t, async (t) => {
  const databaseUrl = await createDatabase(t)
  return {
    open: (now) => openStore(databaseUrl, now),
    kill: (store) => store.close()
  }
})

t.test('ten instances that start at the same moment can all migrate the database', async (t) => {
  const databaseUrl = await createDatabase(t)
  const stores = await Promise.all(Array.from({ length: 10 }, () => openStore(databaseUrl)))
  for (const store of stores) await store.ping()
  await Promise.all(stores.map((store) => store.close()))
})

t.test('each task is claimed by one of two stores, and each store reads the changes of the other', async (t) => {
  const databaseUrl = await createDatabase(t)
  const [first, second] = [await openStore(databaseUrl), await openStore(databaseUrl)]
  t.teardown(async () => { await Promise.all([first.close(), second.close()]) })
  const tasks = await Promise.all(Array.from({ length: 40 }, () => storeTask(first, newTask('A whale', 'Cursed', 840, Date.now()))))
  const claims = await Promise.all([first, second, first, second].map((store) => store.claim(15)))
  const ids = claims.flat().map(({ id }) => id)
  t.equal(ids.length, 40)
  t.equal(new Set(ids).size, 40)
  const [task] = tasks
  if (task === undefined) throw new Error('No task')
  const results = await Promise.all([first, second].map((store) => store.applyTransition(task, { type: 'fail', failure: 'canceled' })))
  t.same(results.map(({ outcome }) => outcome).sort(), ['applied', 'stale'])
  t.match(await second.get(task.id), { failure: 'canceled' })
})

t.test('two instances that create tasks at the same moment do not exceed a cap together', async (t) => {
  const databaseUrl = await createDatabase(t)
  const stores = [await openStore(databaseUrl), await openStore(databaseUrl)] as const
  t.teardown(() => Promise.all(stores.map((store) => store.close())))
  const create = async (number: number) => {
    const task = newTask('A whale', 'Cursed', 840, Date.now(), { keyName: number % 2 === 0 ? 'a' : 'b' })
    return (await stores[number % 3 === 0 ? 0 : 1].create(task, { ofKey: 150, inAll: 220 })).outcome
  }
  const outcomes: string[] = []
  // Several batches of each store, and caps that are met in all of them.
  for (let wave = 0; wave < 3; wave++) outcomes.push(...await Promise.all(Array.from({ length: 300 }, (_, number) => create(number))))
  t.equal(outcomes.filter((outcome) => outcome === 'created').length, 220)
  t.equal((await stores[0].summarizeOpen(1_000)).reduce((sum, { tasks }) => sum + tasks, 0), 220)
})

t.test('a creation whose commit had no answer is not refused because of the task that it has made itself', async (t) => {
  const store = await openStore(await createDatabase(t))
  t.teardown(() => store.close())
  let lost = 0
  onStatements(t, (text) => text === 'COMMIT' && ++lost === 1 ? { error: databaseError('ECONNRESET'), isSent: true } : undefined)
  const task = newTask('A whale', 'Cursed', 840, Date.now(), { keyName: 'a' })
  t.match(await store.create(task, { ofKey: 1, inAll: 1 }), { outcome: 'created', task: { id: task.id } })
  t.ok(lost > 1, 'it was tried again')
  t.same(await store.create(newTask('A whale', 'Cursed', 840, Date.now(), { keyName: 'a' }), { ofKey: 1, inAll: 1 }), { outcome: 'too_many_open_tasks', of: 'key' })
})

t.test('a thousand concurrent requests with one key need one database query', async (t) => {
  const store = await openStore(await createDatabase(t))
  t.teardown(() => store.close())
  // The boundary: the type has an overload for each kind of query.
  const prototype = pg.Client.prototype as { query: (this: pg.Client, ...parameters: unknown[]) => unknown }
  const { query } = prototype
  let queries = 0
  prototype.query = function (...parameters) {
    if (String(parameters[0]).startsWith('insert into idempotency_key')) queries++
    return Reflect.apply(query, this, parameters)
  }
  t.teardown(() => { prototype.query = query })
  const request = { scope: '', key: 'a-key', fingerprint: 'one', code: 200 } as const
  const outcomes = await Promise.all(Array.from({ length: 1_000 }, () => store.createIdempotent(newTask('A whale', 'Cursed', 840, Date.now()), request)))
  t.equal(queries, 1)
  t.equal(outcomes.filter(({ outcome }) => outcome === 'created').length, 1)
  t.equal(outcomes.filter(({ outcome }) => outcome === 'replayed').length, 999)
})

t.test('a store that cannot read its jobs or tasks is not ready and accepts no task until it can read them again', async (t) => {
  const databaseUrl = await createDatabase(t)
  const store = await openStore(databaseUrl)
  t.teardown(() => store.close())
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  const task = () => newTask('A whale', 'Cursed', 840, Date.now())
  await client.query('alter table task rename to elsewhere')
  await t.rejects(store.ping(), { name: 'StoreUnavailableError' })
  await client.query('alter table elsewhere rename to task')
  await store.ping()
  await client.query('alter schema pgboss rename to elsewhere')
  await t.rejects(store.claim(1), { name: 'StoreUnavailableError' })
  await t.rejects(store.ping(), { name: 'StoreUnavailableError' })
  await t.rejects(storeTask(store, task()), { name: 'StoreUnavailableError', cause: { message: /pgboss/ } })
  await client.query('alter schema elsewhere rename to pgboss')
  t.same(await store.claim(1), [])
  await store.ping()
  await storeTask(store, task())
})

t.test('an instance that has lost the lease of a delivery can no longer finish it', async (t) => {
  const databaseUrl = await createDatabase(t)
  const [first, second] = [await openStore(databaseUrl), await openStore(databaseUrl)]
  t.teardown(async () => { await Promise.all([first.close(), second.close()]) })
  await first.applyTransition(await storeTask(first, newTask('A whale', 'Cursed', 840, Date.now(), { callbackUrl: 'https://app.example/' })), { type: 'fail', failure: 'canceled' })
  const [lost] = await first.deliveries.claim(1)
  if (lost === undefined) throw new Error('No delivery')
  t.same(await second.deliveries.claim(1), [])
  await forgetHeartbeats(databaseUrl)
  const taken = await until(async () => (await second.deliveries.claim(1))[0], 'the takeover')
  await first.deliveries.finishAttempt(lost, { inMs: 0 })
  await second.deliveries.finishAttempt(taken, { inMs: 1 })
  t.match(await until(async () => (await second.deliveries.claim(10))[0], 'the next attempt'), { attempt: 2 })
  t.same(await first.deliveries.claim(10), [])
})

async function forgetHeartbeats (databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  await client.query("update pgboss.job set heartbeat_on = now() - interval '1 hour'")
  await client.end()
}

t.test('a released task can be claimed by another instance at once, and an instance notices when its lease is taken over', async (t) => {
  const databaseUrl = await createDatabase(t)
  const [first, second] = [await openStore(databaseUrl), await openStore(databaseUrl)]
  t.teardown(async () => { await Promise.all([first.close(), second.close()]) })
  const task = await storeTask(first, newTask('A whale', 'Cursed', 840, Date.now()))
  await first.claim(1)
  t.same(await second.claim(1), [])
  await first.release(task.id)
  t.same((await second.claim(1)).map(({ id }) => id), [task.id])

  const lost: string[] = []
  second.onLeaseLost((taskId) => lost.push(taskId))
  await forgetHeartbeats(databaseUrl)
  await until(async () => (await first.claim(1)).length === 1 || undefined, 'the takeover')
  await until(() => lost.length === 1 || undefined, 'the loss to be noticed')
  t.same(lost, [task.id])
})

t.test('a failed release during a claim does not keep the open tasks from being claimed', async (t) => {
  const store = await openStore(await createDatabase(t))
  t.teardown(() => store.close())
  const [ended, open] = [await storeTask(store, newTask('A whale', 'Cursed', 840, Date.now())), await storeTask(store, newTask('A whale', 'Cursed', 840, Date.now()))]
  await store.applyTransition(ended, { type: 'fail', failure: 'canceled' })
  let failed = 0
  onStatements(t, (text) => {
    if (!text.includes("state = 'completed'") || !text.includes('UPDATE')) return undefined
    failed++
    return { error: databaseError('42501'), isSent: false }
  })
  t.same((await store.claim(10)).map(({ id }) => id), [open.id])
  t.ok(failed > 0, 'the release was tried')
})

t.test('a task whose release fails can be claimed by another instance when its lease expires', async (t) => {
  const databaseUrl = await createDatabase(t)
  const [first, second] = [await openStore(databaseUrl), await openStore(databaseUrl)]
  t.teardown(async () => { await Promise.all([first.close(), second.close()]) })
  const task = await storeTask(first, newTask('A whale', 'Cursed', 840, Date.now()))
  await first.claim(1)
  let isBroken = true
  onStatements(t, (text) => isBroken && text.includes('from task where id = any') ? { error: databaseError('42501'), isSent: false } : undefined)
  await t.rejects(first.release(task.id), { name: 'StoreUnavailableError' })
  isBroken = false
  t.same(await until(async () => {
    const claimed = await second.claim(1)
    return claimed.length > 0 ? claimed.map(({ id }) => id) : undefined
  }, 'the lease to expire'), [task.id])
})

t.test('if no job can be put ahead of others, all are claimed in their order', async (t) => {
  const store = await openStore(await createDatabase(t))
  const overdue = await storeTask(store, newTask('A whale', 'Cursed', 0, Date.now()))
  const other = await storeTask(store, newTask('A whale', 'Cursed', 840, Date.now()))
  const errors: string[] = []
  let refused = 0
  onStatements(t, (text) => {
    if (!/priority = (COALESCE|\$1)/.test(text)) return undefined
    refused++
    return { error: databaseError('42501'), isSent: false }
  })
  const end = async (task: typeof other) => { await store.applyTransition(task, { type: 'fail', failure: 'canceled' }) }
  const jobs = new JobRunner({
    taskStore: store,
    job: end,
    endOverdue: end,
    maxInFlight: 10,
    capacity: () => 10,
    claimIntervalMs: 20,
    stopping: new AbortController(),
    now: Date.now,
    log: { ...log, error: (_details: object, message: string) => { errors.push(message) } }
  })
  t.teardown(async () => {
    await jobs.stop()
    await store.close()
  })
  jobs.start()
  for (const { id } of [overdue, other]) {
    await until(async () => {
      const task = await store.get(id)
      return task !== undefined && !isOpen(task) ? true : undefined
    }, 'the task to be worked on')
  }
  t.ok(refused > 0)
  t.same(errors.filter((message) => message.startsWith('Work cannot be claimed')), [])
  t.equal(errors.filter((message) => message.startsWith('Urgent tasks')).length, 1)
})

for (const { code, isRetried } of [{ code: '23514', isRetried: false }, { code: '53100', isRetried: true }]) {
  t.test(`a transition that the database refuses with ${code} is ${isRetried ? 'retried until it succeeds' : 'rejected after five tries'}`, async (t) => {
    const store = await openStore(await createDatabase(t))
    t.teardown(() => store.close())
    const task = await storeTask(store, newTask('A whale', 'Cursed', 840, Date.now()))
    let tries = 0
    onStatements(t, (text) => {
      if (!text.startsWith('update task set')) return undefined
      return ++tries < 8 ? { error: databaseError(code), isSent: false } : undefined
    })
    const transition = transitionTask(task, { type: 'fail', failure: 'canceled' }, { taskStore: store, log, signal: new AbortController().signal })
    if (isRetried) t.match(await transition, { applied: true })
    else await t.rejects(transition, { name: 'StoreUnavailableError', isTransient: false })
    t.equal(tries, isRetried ? 8 : 5)
  })
}
