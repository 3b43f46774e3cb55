import { mkdir, readdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { buildApp } from '../../app.ts'
import { readConfig } from '../../config.ts'
import { until } from '../../harness/until.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import { newTask, type Task } from '../../services/tasks/task.ts'
import { FolderArchive } from '../../services/videos/folder-archive.ts'
import type { VideoArchive } from '../../services/videos/video-archive.ts'
import { createBucket } from '../support/bucket.ts'
import { createEndedTask, hour } from '../support/ended-task.ts'
import { createDatabase } from '../support/postgres.ts'
import { slow, slowOn } from '../support/quick.ts'
import { runService } from '../support/running-service.ts'
import { postDream, startEmulator, startService, statusOf, testEnvironment } from '../support/service.ts'
import { storeTask } from '../support/store-task.ts'

/** 86 s. What has expired is removed every 3 to 6 s. */
const retention = { RETENTION_DAYS: '0.001' }
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }

const stores: Record<string, (t: Test) => Promise<Record<string, string>>> = {
  SQLite: async () => ({}),
  PostgreSQL: async (t) => ({ DATABASE_URL: await createDatabase(t) })
}

for (const [store, envOf] of Object.entries(stores)) {
  t.test(`${store}: expired tasks are removed with their videos and posters, and no others`, slowOn(store), async (t) => {
    const { app, logLines } = await startService(t, { env: { ...await envOf(t), ...retention }, emulator: { generationMs: 600_000 } })
    const { taskStore, videoArchive } = app
    const { now } = taskStore
    const open = await postDream(app)
    const kept = [
      await createEndedTask(taskStore, videoArchive, { endedAgo: 0 }),
      await createEndedTask(taskStore, videoArchive, { endedAgo: 23 * hour, callbackUrl: 'https://app.example/' })
    ]
    const failed = { ...newTask('A whale', 'Cursed', 60, now() - hour), state: 'failed', failure: 'canceled', updatedAt: now() - hour } as const
    const expired = [await storeTask(taskStore, failed), await createEndedTask(taskStore, videoArchive, { endedAgo: 25 * hour, callbackUrl: 'https://app.example/' })]
    for (let count = 0; count < 250; count++) expired.push(await createEndedTask(taskStore, videoArchive))
    await until(async () => await filesOf(videoArchive) === 4, 'all but four files to be removed')
    await until(async () => (await taskStore.list({ status: undefined, style: undefined, keyName: undefined, before: undefined, limit: 500 })).length === 3, 'all but three tasks to be removed')
    for (const task of kept) {
      t.strictSame(await taskStore.get(task.id), task)
      t.ok(await videoArchive.find(task.videoName ?? ''))
      t.ok(await videoArchive.find(task.posterName ?? ''))
    }
    t.match(await statusOf(app, open), { task_id: open })
    for (const { id } of expired) t.equal(await taskStore.get(id), undefined)
    t.ok(logLines.some((line) => line.includes('Expired tasks removed')))
  })
}

t.test('an ended task says when it expires, and with RETENTION_DAYS=0 that it does not', async (t) => {
  const { app } = await startService(t, { env: { RETENTION_DAYS: '2.5' } })
  const task = await createEndedTask(app.taskStore, app.videoArchive)
  t.equal((await statusOf(app, task.id)).expires_at, new Date(task.updatedAt + 60 * hour).toISOString())
  const short = await startService(t, { env: { RETENTION_DAYS: '0.5' } })
  const withCallback = await createEndedTask(short.app.taskStore, short.app.videoArchive, { callbackUrl: 'https://app.example/' })
  t.equal((await statusOf(short.app, withCallback.id)).expires_at, new Date(withCallback.updatedAt + 24 * hour).toISOString())
  const keeping = await startService(t, { env: { RETENTION_DAYS: '0' } })
  const kept = await createEndedTask(keeping.app.taskStore, keeping.app.videoArchive, { endedAgo: 1_000 * 24 * hour })
  t.equal((await statusOf(keeping.app, kept.id)).expires_at, null)
})

t.test('while the archive is unavailable expired tasks are kept, with one warning, and they are removed when it is available', slow, async (t) => {
  const { server, env: s3 } = await createBucket(t)
  const { app, logLines } = await startService(t, { env: { ...s3, ...retention } })
  const { taskStore, videoArchive } = app
  const logged = (message: string, level: number) => logLines.filter((line) => line.includes(message) && line.includes(`"level":${level}`)).length
  // They expire in a moment.
  const tasks = []
  for (let count = 0; count < 12; count++) tasks.push(await createEndedTask(taskStore, videoArchive, { endedAgo: 80_000 }))
  t.equal(await filesOf(videoArchive), 24)
  await server.halt()
  await until(() => logged('Expired tasks cannot be removed', 20) > 0, 'a second round that fails')
  t.equal(logged('Expired tasks cannot be removed', 40), 1)
  for (const task of tasks) t.strictSame(await taskStore.get(task.id), task)
  await server.resume()
  await until(() => logged('Expired tasks can be removed again', 30) === 1, 'the tasks to be removed')
  t.equal(await filesOf(videoArchive), 0)
  for (const { id } of tasks) t.equal(await taskStore.get(id), undefined)
  t.equal(logged('Expired tasks cannot be removed', 40), 1)
})

t.test('a task whose file cannot be removed does not stop the removal of others', async (t) => {
  const dataDir = t.testdir()
  const { app } = await startService(t, { env: { DATA_DIR: dataDir, ...retention } })
  const { taskStore, videoArchive } = app
  const stuck = await createEndedTask(taskStore, videoArchive, { endedAgo: 2 * hour })
  // A folder that cannot be removed as a file is.
  const path = join(dataDir, 'videos', stuck.videoName ?? '')
  await rm(path)
  await mkdir(path)
  for (let count = 0; count < 150; count++) await createEndedTask(taskStore, videoArchive)
  await until(async () => await filesOf(videoArchive) <= 1, 'all others to be removed')
  t.strictSame(await taskStore.get(stuck.id), stuck)
  await rmdir(path)
  await until(async () => await taskStore.get(stuck.id) === undefined, 'the last one to be removed')
})

t.test('of two instances one removes what has expired, and the other continues when that one stops', slow, async (t) => {
  const { apiUrl } = await startEmulator(t)
  const env = { ...testEnvironment, ...retention, REPLICATE_API_URL: apiUrl, DATABASE_URL: await createDatabase(t), DATA_DIR: t.testdir() }
  const instances = await Promise.all([0, 1].map(async () => {
    const lines: string[] = []
    const app = await buildApp(readConfig(env), { logStream: { write: (line) => { lines.push(line) } } })
    t.teardown(() => app.close())
    await app.ready()
    return { app, hasRemoved: () => lines.some((line) => line.includes('Expired tasks removed')) }
  }))
  const [first] = instances
  if (first === undefined) throw new Error('No instance')
  const { taskStore, videoArchive } = first.app
  const addTasks = async () => { for (let count = 0; count < 20; count++) await createEndedTask(taskStore, videoArchive) }
  const allRemoved = () => until(async () => (await taskStore.listExpired(1, 1)).length === 0, 'the expired tasks to be removed')
  for (let round = 0; round < 3; round++) {
    await addTasks()
    await allRemoved()
  }
  const [worker, idle] = instances.toSorted((a, b) => Number(b.hasRemoved()) - Number(a.hasRemoved()))
  t.same([worker?.hasRemoved(), idle?.hasRemoved()], [true, false])
  await addTasks()
  await worker?.app.close()
  await until(async () => (await idle?.app.taskStore.listExpired(1, 1))?.length === 0, 'the other instance to remove them')
  t.ok(idle?.hasRemoved())
})

t.test('after kill -9 no task is gone whose files are left, and the next start removes the rest', slow, async (t) => {
  const { apiUrl } = await startEmulator(t)
  const dataDir = t.testdir()
  const open = () => createSqliteTaskStore({ dataDir, now: Date.now, log })
  const archive = new FolderArchive(join(dataDir, 'videos'))
  const store = open()
  const tasks: Task[] = []
  for (let count = 0; count < 600; count++) tasks.push(await createEndedTask(store, archive))
  await store.close()
  const env = { DATA_DIR: dataDir, REPLICATE_API_URL: apiUrl, ...retention }
  const service = await runService(t, env)
  await until(async () => await filesOf(archive) < 900, 'some of the files to be removed', { intervalMs: 1 })
  await service.end('SIGKILL')
  const files = await namesOf(archive)
  t.ok(files.size > 0, `${files.size} files are left`)
  const later = open()
  for (const { id, videoName, posterName } of tasks) {
    const hasFiles = files.has(videoName ?? '') || files.has(posterName ?? '')
    if (hasFiles) t.ok(await later.get(id), 'the task is there')
  }
  await later.close()
  await (await runService(t, env)).listeningUrl()
  await until(async () => await filesOf(archive) === 0, 'the rest to be removed')
})

t.test('an instance stops while it removes many tasks', async (t) => {
  const dataDir = t.testdir()
  const { app } = await startService(t, { env: { DATA_DIR: dataDir, ...retention } })
  const { taskStore, videoArchive } = app
  for (let count = 0; count < 400; count++) await createEndedTask(taskStore, videoArchive)
  await until(async () => await filesOf(videoArchive) < 800, 'the first files to be removed', { intervalMs: 1 })
  await app.close()
  const left = (await readdir(join(dataDir, 'videos'))).length
  for (let count = 0; count < 100; count++) await turn()
  t.equal((await readdir(join(dataDir, 'videos'))).length, left, 'nothing goes on')
})

async function namesOf (archive: VideoArchive): Promise<Set<string>> {
  const names = new Set<string>()
  for await (const { name } of archive.list()) names.add(name)
  return names
}

async function filesOf (archive: VideoArchive): Promise<number> {
  return (await namesOf(archive)).size
}
