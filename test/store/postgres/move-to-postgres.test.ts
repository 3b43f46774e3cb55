import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import t, { type Test } from 'tap'
import { freePort } from '../../../harness/free-port.ts'
import { S3Server } from '../../../harness/s3-server.ts'
import { until } from '../../../harness/until.ts'
import { buildInput } from '../../../services/replicate/models.ts'
import { checkArchiveOwner } from '../../../services/retention/archive-owner.ts'
import { sweepOrphans } from '../../../services/retention/orphan-sweep.ts'
import { createPostgresTaskStore } from '../../../services/store/postgres/postgres-task-store.ts'
import { createSqliteTaskStore } from '../../../services/store/sqlite/sqlite-task-store.ts'
import type { TaskStore } from '../../../services/store/task-store.ts'
import { promptFor } from '../../../services/tasks/styles.ts'
import { isOpen, newTask, type Transition, type Task } from '../../../services/tasks/task.ts'
import { createArchiveName } from '../../../services/videos/archive-name.ts'
import { FolderArchive } from '../../../services/videos/folder-archive.ts'
import { S3Archive } from '../../../services/videos/s3-archive.ts'
import type { VideoArchive } from '../../../services/videos/video-archive.ts'
import { createEndedTask, storeFile } from '../../support/ended-task.ts'
import { matchList } from '../../support/match-list.ts'
import { createDatabase } from '../../support/postgres.ts'
import { runService } from '../../support/running-service.ts'
import { startEmulator } from '../../support/service.ts'

const now = Date.now
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }
const script = new URL('../../../scripts/move-to-postgres.ts', import.meta.url).pathname
const sampleVideo = new URL('../../../replicate-emulator/video/sample.mp4', import.meta.url)
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
  t.same(await tasksThere(), byId([...ended, ...open]))
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
  t.same(there.filter(({ id }) => id !== changed.id), byId(tasks).filter(({ id }) => id !== changed.id))
  const jobs = await query(databaseUrl, 'select id from pgboss.job')
  t.same(new Set(jobs.map(({ id }) => id)), new Set(tasks.filter(isOpen).map(({ id }) => id)))
  t.equal(jobs.length, 2_000)
})

t.test('a request that is sent again after the move gets the task that it created before', async (t) => {
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const requests = Array.from({ length: 1_200 }, (_, index) => ({ scope: '', key: `key-${index}`, fingerprint: `${index}`, code: 200 as const }))
  const made = requests.map(() => newTask('A whale', 'Cursed', 840, now()))
  const createAll = (store: TaskStore, tasks: Task[]) => Promise.all(requests.map((request, index) => store.createIdempotent(tasks[index] ?? newTask('', 'Cursed', 1, 0), request)))
  t.same(await createAll(store, made), made.map(() => ({ outcome: 'created' })))
  await store.close()
  t.match(await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }).ended, { code: 0 })
  const { store: postgres } = await openPostgres(t, databaseUrl)
  const again = await createAll(postgres, requests.map(() => newTask('A whale', 'Cursed', 840, now())))
  t.same(again, made.map(({ id }) => ({ outcome: 'replayed', taskId: id, code: 200 })))
})

t.test('callbacks that were not delivered before the move are delivered after it, from the attempt that was due', async (t) => {
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const ended = async () => {
    const result = await store.applyTransition(await store.create(newTask('A whale', 'Cursed', 840, now(), { callbackUrl: 'https://app.example/' })), { type: 'fail', failure: 'canceled' })
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

t.test('the videos move to a bucket: a second run finishes one that was killed, and every byte is there before its task is', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const { env: s3, archive } = await createBucket(t)
  const store = createSqliteTaskStore({ dataDir, now, log })
  const storeId = await store.readId()
  const folder = new FolderArchive(join(dataDir, 'videos'))
  await checkArchiveOwner({ taskStore: store, videoArchive: folder })
  const ended = []
  for (let index = 0; index < 40; index++) ended.push(await createEndedTask(store, folder))
  // More than one part of an upload.
  await storeFile(folder, 'mp4', ended[20]?.videoName ?? '', randomBytes(6_000_000))
  const storing = await store.create({ ...newTask('A whale', 'Cursed', 840, now()), state: 'storing', sourceUrl: `${new URL(apiUrl).origin}/files/gone/output.mp4`, videoName: createArchiveName('mp4') })
  const video = await readFile(sampleVideo)
  await storeFile(folder, 'mp4', storing.videoName ?? '', video)
  const orphan = await storeFile(folder, 'mp4')
  await store.close()
  const before = await hashesIn(folder)
  const env = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, ...s3 }
  const { store: postgres, tasks: tasksThere } = await openPostgres(t, databaseUrl)

  const first = moveToPostgres(t, env)
  await until(async () => (await hashesIn(archive)).size >= 5, 'some of the files to be copied')
  first.kill()
  t.match(await first.ended, { signal: 'SIGKILL' })
  const copied = (await hashesIn(archive)).size
  t.ok(copied < 81, `${copied} files were copied`)
  t.same(await tasksThere(), [], 'no task is there before its video')
  t.equal(await archive.readOwner(), storeId)
  t.equal(await sweepAll({ taskStore: postgres, videoArchive: archive }), 'foreign', 'and none of the files is an orphan')

  t.match(await moveToPostgres(t, env).ended, { code: 0, stdout: /Copied \d+ videos and posters, \d+ MB; \d+ were there before\.\nMoved 41 tasks/ })
  before.delete(orphan)
  t.same(await hashesIn(archive), before)
  t.same(await tasksThere(), byId([...ended, storing]))
  t.equal(await archive.readOwner(), await postgres.readId())
  t.match(await moveToPostgres(t, env).ended, { code: 0, stdout: /Copied 0 videos and posters, 0 MB; 81 were there before/ })

  const url = await (await runService(t, { ...s3, DATABASE_URL: databaseUrl, REPLICATE_API_URL: apiUrl })).listeningUrl()
  for (const { videoName, posterName } of ended.slice(0, 2)) {
    for (const name of [videoName, posterName]) t.equal(hash(await bytesAt(`${url}/videos/${name}`)), before.get(name ?? ''))
  }
  const completed = await until(async () => {
    const task = await postgres.get(storing.id)
    return task?.state === 'completed' ? task : undefined
  }, 'the task whose video was stored to be completed')
  t.match(completed, { videoFile: { bytes: video.length }, videoWork: null })
  t.ok(video.equals(await bytesAt(`${url}/videos/${storing.videoName}`)))
})

t.test('videos that stay in their folder belong to PostgreSQL after the move, and a service that is started on the old tasks leaves them alone', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const folder = new FolderArchive(join(dataDir, 'videos'))
  await checkArchiveOwner({ taskStore: store, videoArchive: folder })
  const task = await createEndedTask(store, folder)
  await store.close()
  const before = await hashesIn(folder)
  t.match(await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }).ended, { code: 0, stdout: /^Copied 0 videos and posters, 0 MB; 2 were there before\.\n/ })
  t.same(await hashesIn(folder), before)
  const { store: postgres } = await openPostgres(t, databaseUrl)
  t.same(await postgres.get(task.id), task)
  const newVideo = await createEndedTask(postgres, folder)
  const orphan = await storeFile(folder, 'mp4')

  const old = await runService(t, { DATA_DIR: dataDir, REPLICATE_API_URL: apiUrl, VIDEO_ORPHAN_AGE_MINUTES: '0' })
  await old.listeningUrl()
  await until(() => old.output().includes('The video archive is marked by another database'), 'the warning')
  await old.end('SIGTERM')
  const again = createSqliteTaskStore({ dataDir, now, log })
  t.equal(await sweepAll({ taskStore: again, videoArchive: folder }), 'foreign')
  await again.close()
  t.ok((await hashesIn(folder)).has(newVideo.videoName ?? ''))
  t.equal(await sweepAll({ taskStore: postgres, videoArchive: folder }), 'own')
  const after = await hashesIn(folder)
  t.notOk(after.has(orphan))
  t.equal(after.size, 4)
})

t.test('videos move to the folder of the instances, not to that of another database, and a video that is missing is named', async (t) => {
  const folders = t.testdir({ old: {}, new: {} })
  const [dataDir, newDataDir, databaseUrl] = [join(folders, 'old'), join(folders, 'new'), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const source = new FolderArchive(join(dataDir, 'videos'))
  const tasks = [await createEndedTask(store, source), await createEndedTask(store, source)]
  await store.close()
  const before = await hashesIn(source)
  const missing = tasks[0]?.posterName ?? ''
  await source.remove(missing)
  const target = new FolderArchive(join(newDataDir, 'videos'))
  await target.writeOwner('another database')
  const env = { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }
  const move = (...args: string[]) => moveToPostgres(t, env, args).ended
  const { store: postgres, tasks: tasksThere } = await openPostgres(t, databaseUrl)

  t.match(await move('--new-data-dir', newDataDir), { code: 1, stderr: /^The archive that the videos are moved to belongs to another database\. [^\n]*\n$/ })
  t.equal(await target.readOwner(), 'another database')
  await rm(join(newDataDir, 'videos'), { recursive: true })
  t.match(await move('--new-data-dir', newDataDir), { code: 1, stderr: new RegExp(`^1 videos and posters are missing, and no task was moved: ${missing}\\. [^\n]*\n$`) })
  t.same(await tasksThere(), [])
  t.match(await move('--new-data-dir', newDataDir, '--skip-missing'), { code: 0, stdout: `1 videos and posters are missing: ${missing}\n` })
  t.same(await tasksThere(), byId(tasks))
  before.delete(missing)
  t.same(await hashesIn(target), before)
  t.equal(await target.readOwner(), await postgres.readId())
  t.match(await move('--new-folder', newDataDir), { code: 1, stderr: /--new-data-dir FOLDER/ })
  t.match(await moveToPostgres(t, { ...env, S3_BUCKET: 'videos' }, ['--new-data-dir', newDataDir]).ended, { code: 1, stderr: /^Videos can be moved either to [^\n]*\n$/ })
})

t.test('a move whose archive does not answer explains why in one line', async (t) => {
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  await createSqliteTaskStore({ dataDir, now, log }).close()
  const s3 = { S3_BUCKET: 'videos', S3_ENDPOINT: `http://127.0.0.1:${await freePort()}`, S3_ACCESS_KEY_ID: 'test', S3_SECRET_ACCESS_KEY: 'testing' }
  const { code, stderr } = await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl, ...s3 }).ended
  t.equal(code, 1)
  t.match(stderr, /^The videos could not be copied \([^\n]*ECONNREFUSED[^\n]*\)\. Run this again[^\n]*\n$/)
})

t.test('a task whose prediction belongs to another task in PostgreSQL is named, and the others are moved', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const [dataDir, databaseUrl] = [t.testdir(), await createDatabase(t)]
  const store = createSqliteTaskStore({ dataDir, now, log })
  const createTask = await taskFactory(store, apiUrl)
  const [generating, other] = [await createTask(0, 'generating'), await createTask(1, 'queued')]
  await store.close()
  const { store: postgres } = await openPostgres(t, databaseUrl)
  const owner = await postgres.create(newTask('A whale', 'Cursed', 840, now()))
  await postgres.applyTransition(owner, { type: 'attach_prediction', predictionId: String(generating.predictionId), predictionCreatedAt: null })
  const { code, stderr } = await moveToPostgres(t, { DATA_DIR: dataDir, DATABASE_URL: databaseUrl }).ended
  t.equal(code, 1)
  t.match(stderr, new RegExp(`^1 tasks were not moved, [^\n]*: ${generating.id}\n$`))
  t.same(await postgres.get(other.id), other)
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
    const task = await store.create(newTask(`${dreams[index % dreams.length]} ${index}`, 'Animated', 840, now()))
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

async function predict (apiUrl: string, input: Record<string, unknown>): Promise<string> {
  const response = await fetch(`${apiUrl}/models/${model}/predictions`, {
    method: 'POST',
    headers: { authorization: 'Bearer test-token', 'content-type': 'application/json' },
    body: JSON.stringify({ input })
  })
  return (await response.json() as { id: string }).id
}

function moveToPostgres (t: Test, env: Record<string, string>, args: string[] = []) {
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, script, ...args], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) child[name].setEncoding('utf8').on('data', (text) => { output[name] += text })
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, ...output }))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { ended, kill: () => child.kill('SIGKILL') }
}

/** A bucket of a real S3 server, which stops when the test ends. */
async function createBucket (t: Test) {
  const server = await S3Server.start()
  t.teardown(() => server.stop())
  const { endpoint, region, credentials } = server
  await new S3Client({ endpoint, region, credentials, forcePathStyle: true }).send(new CreateBucketCommand({ Bucket: 'videos' }))
  const archive = new S3Archive({ bucket: 'videos', prefix: 'dreamreel/', endpoint, region, credentials })
  t.teardown(() => archive.close())
  const { accessKeyId: S3_ACCESS_KEY_ID, secretAccessKey: S3_SECRET_ACCESS_KEY } = credentials
  return { archive, env: { S3_BUCKET: 'videos', S3_PREFIX: 'dreamreel/', S3_ENDPOINT: endpoint, S3_REGION: region, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY } }
}

function sweepAll (scene: { taskStore: TaskStore, videoArchive: VideoArchive }) {
  return sweepOrphans({ ...scene, minAgeMs: 0, mayContinue: async () => true, log, signal: new AbortController().signal })
}

/** What each file of an archive contains. */
async function hashesIn (archive: VideoArchive): Promise<Map<string, string>> {
  const hashes = new Map<string, string>()
  for await (const { name } of archive.list()) {
    const content = await archive.read(name)
    if (content !== undefined) hashes.set(name, hash(Buffer.concat(await content.toArray())))
  }
  return hashes
}

function hash (bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function bytesAt (url: string): Promise<Buffer> {
  return Buffer.from(await (await fetch(url)).arrayBuffer())
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

/** All tasks in PostgreSQL, in the order of their ids, as another instance reads them. */
async function openPostgres (t: Test, databaseUrl: string) {
  const store = await createPostgresTaskStore({ databaseUrl, now, log })
  t.teardown(() => store.close())
  const tasks = async (): Promise<Task[]> => {
    const ids = await query(databaseUrl, 'select id from task order by id')
    return (await Promise.all(ids.map(({ id }) => store.get(id)))).filter((task) => task !== undefined)
  }
  return { store, tasks }
}

async function openTasksOf (dataDir: string): Promise<Task[]> {
  const store = createSqliteTaskStore({ dataDir, now, log })
  try {
    return byId(await store.claim(10_000))
  } finally {
    await store.close()
  }
}

function byId (tasks: Task[]): Task[] {
  return tasks.toSorted((a, b) => a.id < b.id ? -1 : 1)
}

async function query (databaseUrl: string, statement: string): Promise<Array<{ id: string }>> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    return (await client.query(statement)).rows
  } finally {
    await client.end()
  }
}
