import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { until } from '../../../harness/until.ts'
import { buildInput } from '../../../services/replicate/models.ts'
import { createSqliteTaskStore } from '../../../services/store/sqlite/sqlite-task-store.ts'
import type { TaskStore } from '../../../services/store/task-store.ts'
import { promptFor } from '../../../services/tasks/styles.ts'
import { isOpen, newTask, type Transition, type Task } from '../../../services/tasks/task.ts'
import { createArchiveName } from '../../../services/videos/archive-name.ts'
import { matchList } from '../../support/match-list.ts'
import { byId, moveToPostgres, openPostgres, query } from '../../support/move-to-postgres.ts'
import { createDatabase } from '../../support/postgres.ts'
import { predict } from '../../support/predict.ts'
import { runService } from '../../support/running-service.ts'
import { startEmulator } from '../../support/service.ts'
import { storeTask } from '../../support/store-task.ts'

const now = Date.now
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }
const model = 'luma/ray'
const dreams = ['A whale above my school', '空を飛ぶクジラ', 'حوت فوق المدرسة', '👩‍👩‍👧‍👦🐳 \u202e"\\ \n', '\u{10ffff} e\u0301']

t.test('a folder moves to PostgreSQL, and every open task continues there in its state', async (t) => {
  const { emulator, apiUrl } = await startEmulator(t)
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const createTask = await taskFactory(store, apiUrl)
  const ended = await Promise.all(Array.from({ length: 2_900 }, (_, index) => createTask(index, index % 2 === 0 ? 'completed' : 'failed')))
  const open = await Promise.all(Array.from({ length: 100 }, (_, index) => createTask(index, openStates[index % openStates.length] ?? 'queued')))
  await store.close()
  const predictionsBefore = emulator.predictions.length

  const result = await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }).ended
  t.match(result, { code: 0, stdout: /Moved 3000 tasks of .* to PostgreSQL, 100 of them open; 0 were there before\./ })
  const { tasks: tasksThere } = await openPostgres(t, databaseUrl)
  t.same(withoutTurns(await tasksThere()), withoutTurns([...ended, ...open]))
  t.same(await openTasksOf(dataDir), byId(open))

  const service = await runService(t, { DATABASE_URL: databaseUrl, REPLICATE_API_URL: apiUrl })
  await service.listeningUrl()
  const tasks = await until(async () => {
    const seen = await tasksThere()
    return seen.every((task) => !isOpen(task)) ? seen : undefined
  }, 'every task to end')
  const imported = tasks.filter(({ id }) => open.some((task) => task.id === id))
  t.same(new Set(imported.map(({ state }) => state)), new Set(['completed']))
  t.equal(new Set(imported.map(({ predictionId }) => predictionId)).size, 100)
  t.equal(emulator.predictions.length, 100)
  t.equal(predictionsBefore, 50)
  const withPrediction = open.filter(({ predictionId }) => predictionId !== null)
  t.same(withPrediction.map(({ id }) => imported.find((task) => task.id === id)?.predictionId), withPrediction.map(({ predictionId }) => predictionId))
  t.same(byId(tasks.filter(({ id }) => ended.some((task) => task.id === id))), byId(ended))
})

t.test('a second run of the move finishes one that was killed: it imports no task twice and leaves tasks alone that have changed meanwhile', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const createTask = await taskFactory(store, apiUrl)
  const tasks = await Promise.all(Array.from({ length: 3_000 }, (_, index) => createTask(index, index % 3 === 0 ? 'completed' : 'queued')))
  await store.close()
  const env = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }
  const { store: postgres, tasks: tasksThere } = await openPostgres(t, databaseUrl)

  const release = await holdUp(t, databaseUrl, tasks[1_700])
  const first = moveToPostgres(t, env)
  await until(async () => (await tasksThere()).length === 1_500 || undefined, 'the move to have imported half of the tasks')
  first.kill()
  t.match(await first.ended, { signal: 'SIGKILL' })
  await release()
  const [changed] = await postgres.claim(1)
  if (changed === undefined) throw new Error('Nothing to claim')
  await postgres.applyTransition(changed, { type: 'fail', failure: 'canceled' })

  t.match(await moveToPostgres(t, env).ended, { code: 0, stdout: /Moved 1500 tasks .*; 1500 were there before/ })
  t.match(await moveToPostgres(t, env).ended, { code: 0, stdout: /Moved 0 tasks .*; 3000 were there before/ })
  const there = await tasksThere()
  t.match(there.find(({ id }) => id === changed.id), { failure: 'canceled' })
  t.same(withoutTurns(there).filter(({ id }) => id !== changed.id), withoutTurns(tasks).filter(({ id }) => id !== changed.id))
  const jobs = await query(databaseUrl, 'select id from pgboss.job')
  t.same(new Set(jobs.map(({ id }) => id)), new Set(tasks.filter(isOpen).map(({ id }) => id)))
  t.equal(jobs.length, 2_000)
})

t.test('a request that is sent again after the move gets the task that it created before', async (t) => {
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const requests = Array.from({ length: 1_200 }, (_, index) => ({ scope: index % 2 === 0 ? '' : 'studio', key: `key-${index}`, fingerprint: `${index}`, code: 200 as const }))
  const made = requests.map(() => newTask('A whale', 'Cursed', 840, now()))
  const createAll = (store: TaskStore, tasks: Task[]) => Promise.all(requests.map((request, index) => store.createIdempotent(tasks[index] ?? newTask('', 'Cursed', 1, 0), request)))
  t.same(await createAll(store, made), made.map(() => ({ outcome: 'created' })))
  await store.close()
  t.match(await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }).ended, { code: 0 })
  const { store: postgres } = await openPostgres(t, databaseUrl)
  const again = await createAll(postgres, requests.map(() => newTask('A whale', 'Cursed', 840, now())))
  t.same(again, made.map(({ id }) => ({ outcome: 'replayed', taskId: id, code: 200 })))
})

t.test('queued tasks keep their order after the move, and those of several API keys take turns', async (t) => {
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const createAll = async (keyName: string, count: number) => {
    const ids: string[] = []
    for (let number = 0; number < count; number++) ids.push((await storeTask(store, newTask('A whale', 'Cursed', 840, now(), { keyName }))).id)
    return ids
  }
  const [flood, quiet] = [await createAll('flood', 4), await createAll('quiet', 2)]
  await store.close()
  t.match(await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }).ended, { code: 0 })
  const { store: postgres } = await openPostgres(t, databaseUrl)
  t.same((await postgres.claim(10)).map(({ id }) => id), [flood[0], quiet[0], flood[1], quiet[1], flood[2], flood[3]])
})

t.test('callbacks that were not delivered before the move are delivered after it, from the attempt that was due', async (t) => {
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const ended = async () => {
    const result = await store.applyTransition(await storeTask(store, newTask('A whale', 'Cursed', 840, now(), { callbackUrl: 'https://app.example/' })), { type: 'fail', failure: 'canceled' })
    if (result.outcome !== 'applied') throw new Error(result.outcome)
    return result.task
  }
  const tasks = [await ended(), await ended(), await ended()]
  const [delivered, later, due] = await store.deliveries.claim(3)
  if (delivered === undefined || later === undefined || due === undefined) throw new Error('No deliveries')
  await store.deliveries.finishAttempt(delivered)
  await store.deliveries.finishAttempt(later, { inMs: 3_600_000 })
  await store.deliveries.finishAttempt(due, { inMs: 1 })
  await store.close()
  for (const twice of [0, 3]) t.match(await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }).ended, { code: 0, stdout: `${twice} were there before` })
  const { store: postgres } = await openPostgres(t, databaseUrl)
  matchList(t, await postgres.deliveries.claim(10), [{ task: tasks[2], attempt: 2 }])
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  const { rows } = await client.query("select data from pgboss.job where name = 'deliver' and start_after > now() + interval '59 minutes'")
  await client.end()
  t.same(rows, [{ data: { taskId: tasks[1]?.id, attempt: 2 } }])
})

t.test('a task whose prediction belongs to another task in PostgreSQL is named, and the others are moved', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const createTask = await taskFactory(store, apiUrl)
  const [generating, other] = [await createTask(0, 'generating'), await createTask(1, 'queued')]
  await store.close()
  const { store: postgres } = await openPostgres(t, databaseUrl)
  const owner = await storeTask(postgres, newTask('A whale', 'Cursed', 840, now()))
  await postgres.applyTransition(owner, { type: 'attach_prediction', predictionId: String(generating.predictionId), predictionCreatedAt: null })
  const { code, stderr } = await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }).ended
  t.equal(code, 1)
  t.match(stderr, new RegExp(`^1 tasks were not moved, [^\n]*: ${generating.id}\n$`))
  t.match(await postgres.get(other.id), { ...other, startTag: 1 }, 'after the task that was there')
})

t.test('a move that cannot be made explains why in one line', async (t) => {
  const folders = t.testdir({ used: {}, broken: { 'dreamreel.db': 'This is no database. '.repeat(500) } })
  const [dataDir, broken, databaseUrl] = [join(folders, 'used'), join(folders, 'broken'), await createDatabase(t)]
  const { apiUrl } = await startEmulator(t)
  await (await runService(t, { DATA_DIR: dataDir, REPLICATE_API_URL: apiUrl })).listeningUrl()
  const cases: Array<[Record<string, string>, RegExp]> = [
    [{ DATA_DIR: dataDir, DATABASE_URL: databaseUrl }, /^[^\n]*in use by another Dreamreel process[^\n]*\n$/],
    [{ DATA_DIR: '/nowhere', DATABASE_URL: databaseUrl }, /^DATA_DIR \/nowhere holds no tasks[^\n]*\n$/],
    [{ DATA_DIR: broken, DATABASE_URL: databaseUrl }, /^[^\n]*dreamreel\.db is not a SQLite database[^\n]*\n$/],
    [{ DATA_DIR: dataDir }, /^DATABASE_URL must name[^\n]*\n$/]
  ]
  for (const [env, message] of cases) {
    const { code, stderr } = await moveToPostgres(t, env).ended
    t.equal(code, 1)
    t.match(stderr, message)
  }
})

const openStates = ['queued', 'submitted', 'intent_only', 'generating'] as const
type State = typeof openStates[number] | 'completed' | 'failed'

/** Creates tasks of a store in a given state: `submitted` has a prediction that the store does not know, `intent_only` has none. */
async function taskFactory (store: TaskStore, apiUrl: string) {
  const apply = async (task: Task, transition: Transition): Promise<Task> => {
    const result = await store.applyTransition(task, transition)
    if (result.outcome !== 'applied') throw new Error(result.outcome)
    return result.task
  }
  return async (index: number, state: State): Promise<Task> => {
    const task = await storeTask(store, newTask(`${dreams[index % dreams.length]} ${index}`, 'Animated', 840, now(), { keyName: index % 3 === 0 ? 'studio' : null }))
    if (state === 'queued') return task
    if (state === 'failed') return apply(task, { type: 'fail', failure: 'provider_error' })
    const input = buildInput(model, promptFor(task.style, task.dream), index)
    const submitted = await apply(task, { type: 'submit', submission: { startedAt: now(), model, input, webhook: null, providerStartedAt: null, isAmbiguous: false } })
    if (state === 'intent_only') return submitted
    const predictionId = state === 'completed' ? `done-${index}` : await predict(apiUrl, input)
    if (state === 'submitted') return submitted
    const generating = await apply(submitted, { type: 'attach_prediction', predictionId, predictionCreatedAt: now() })
    if (state === 'generating') return generating
    const storing = await apply(generating, { type: 'store', sourceUrl: 'https://replicate.delivery/video.mp4', posterSourceUrl: null, videoName: createArchiveName('mp4') })
    // As if its video was lost: it has no file, and no work is left.
    return apply(storing, { type: 'complete', videoFile: null, videoWork: null })
  }
}

/** Blocks the insertion of a task until the returned function is called; the insertion then succeeds. */
async function holdUp (t: Test, databaseUrl: string, task: Task | undefined): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end().catch(() => undefined))
  await client.query('begin')
  await client.query(`insert into task (id, state, version, revision, dream, style, created_at, updated_at, deadline_at)
    values ($1, 'queued', 1, 1, '', 'Cursed', 0, 0, 0)`, [task?.id])
  return async () => { await client.query('rollback') }
}

/** For a comparison: open tasks have other start tags after the move. */
function withoutTurns (tasks: Task[]): Task[] {
  return byId(tasks).map((task) => isOpen(task) ? { ...task, startTag: 0 } : task)
}

async function openTasksOf (dataDir: string): Promise<Task[]> {
  const store = createSqliteTaskStore({ dataDir, now, log })
  try {
    return byId(await store.claim(10_000))
  } finally {
    await store.close()
  }
}
