import t, { type Test } from 'tap'
import { buildApp } from '../../../app.ts'
import { readConfig } from '../../../config.ts'
import { databaseError, onStatements } from '../../support/pg-statements.ts'
import { createDatabase } from '../../support/postgres.ts'
import { ended, postDream, startEmulator, testEnvironment } from '../../support/service.ts'

type Outage = 'none' | 'of writes' | 'of everything'

/** The service on a database. `loseCommit` loses the answer to the commit of one statement, and then begins an outage. */
async function startService (t: Test) {
  const { apiUrl } = await startEmulator(t)
  const config = readConfig({ ...testEnvironment, REPLICATE_API_URL: apiUrl, DATABASE_URL: await createDatabase(t) })
  const app = await buildApp(config, { logStream: { write: () => {} } })
  t.teardown(() => app.close())
  await app.ready()
  const loseCommit = (text: string, then: Outage) => {
    let inTransaction: object | undefined
    let isLost = false
    let isOver = false
    onStatements(t, (statement, client) => {
      if (isOver) return undefined
      if (isLost) return isRefused(statement, then) ? { error: databaseError('ECONNREFUSED'), isSent: false } : undefined
      if (statement.startsWith(text)) inTransaction = client
      if (statement !== 'COMMIT' || client !== inTransaction) return undefined
      isLost = true
      return { error: databaseError('ECONNRESET'), isSent: true }
    })
    return { isLost: () => isLost, end: () => { isOver = true } }
  }
  const post = (key?: string) => app.inject({
    method: 'POST', url: '/generate-video', query: { dream: 'A whale', style: 'Cursed' }, headers: key === undefined ? {} : { 'idempotency-key': key }
  })
  const count = async () => (await app.taskStore.list({ status: undefined, style: undefined, keyName: undefined, before: undefined, limit: 10 })).length
  return { app, loseCommit, post, count }
}

function isRefused (statement: string, outage: Outage): boolean {
  return outage === 'of everything' || (outage === 'of writes' && statement === 'BEGIN')
}

for (const key of [undefined, 'a-key']) {
  t.test(`a creation ${key === undefined ? 'without' : 'with'} a key whose commit was not acknowledged is answered as a success`, async (t) => {
    const { loseCommit, post, count } = await startService(t)
    const { isLost, end } = loseCommit('insert into task', 'of writes')
    const response = await post(key)
    t.ok(isLost())
    t.equal(response.statusCode, 200)
    t.equal(response.headers['idempotency-replayed'], undefined)
    end()
    t.equal(await count(), 1)
  })
}

t.test('a creation whose outcome is unknown is answered so, and can be sent again with its key', async (t) => {
  const { loseCommit, post, count } = await startService(t)
  const { isLost, end } = loseCommit('insert into task', 'of everything')
  const response = await post('a-key')
  t.ok(isLost())
  t.equal(response.statusCode, 503)
  t.match(response.json(), { code: 'store_unavailable', detail: /not known whether .* Idempotency-Key/ })
  end()
  t.equal((await post('a-key')).statusCode, 200)
  t.equal(await count(), 1)
})

t.test('the answer to a creation that certainly failed does not call the outcome unknown', async (t) => {
  const { post } = await startService(t)
  onStatements(t, (statement) => statement === 'BEGIN' ? { error: databaseError('ECONNREFUSED'), isSent: false } : undefined)
  const response = await post()
  t.equal(response.statusCode, 503)
  t.notMatch(response.json(), { detail: /not known/ })
})

for (const outage of ['none', 'of writes'] as const) {
  t.test(`a deletion whose commit was not acknowledged is answered as a success, after an outage ${outage}`, async (t) => {
    const { app, loseCommit } = await startService(t)
    const taskId = await postDream(app)
    await ended(app, taskId)
    const { isLost } = loseCommit('delete from task', outage)
    const response = await app.inject({ method: 'DELETE', url: `/video-status/${taskId}` })
    t.ok(isLost())
    t.equal(response.statusCode, 204)
    t.equal((await app.inject(`/video-status/${taskId}`)).statusCode, 404)
  })
}

t.test('a store whose deletion was committed but not acknowledged finds out that it has deleted the task', async (t) => {
  const { app, loseCommit } = await startService(t)
  const taskId = await postDream(app)
  await ended(app, taskId)
  const task = await app.taskStore.get(taskId)
  if (task === undefined) throw new Error('No task')
  const { isLost } = loseCommit('delete from task', 'none')
  t.ok(await app.taskStore.remove(task))
  t.ok(isLost())
  t.notOk(await app.taskStore.remove(task))
})
