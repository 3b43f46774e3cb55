import { utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { queryPostgres } from '../../harness/postgres-client.ts'
import { checkArchiveOwner } from '../../services/retention/archive-owner.ts'
import { sweepOrphans } from '../../services/retention/orphan-sweep.ts'
import { createPostgresTaskStore } from '../../services/store/postgres/postgres-task-store.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import type { TaskStore } from '../../services/store/task-store.ts'
import { newTask, type Task } from '../../services/tasks/task.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { FolderArchive } from '../../services/videos/folder-archive.ts'
import type { VideoArchive } from '../../services/videos/video-archive.ts'
import { createEndedTask, hour, storeFile } from '../support/ended-task.ts'
import { createBucket } from '../support/bucket.ts'
import { createDatabase } from '../support/postgres.ts'
import { slow, slowOn } from '../support/quick.ts'
import { storeTask } from '../support/store-task.ts'

const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }
const { signal } = new AbortController()
const mayContinue = async () => true
const day = 24 * hour

interface Scene { taskStore: TaskStore, videoArchive: VideoArchive }

const openSqlite = (t: Test) => {
  const taskStore = createSqliteTaskStore({ dataDir: t.testdir(), now: Date.now, log })
  t.teardown(() => taskStore.close())
  return taskStore
}

const openPostgres = async (t: Test, databaseUrl: string) => {
  const taskStore = await createPostgresTaskStore({ databaseUrl, now: Date.now, log })
  t.teardown(() => taskStore.close())
  return taskStore
}

const openFolder = (t: Test) => new FolderArchive(join(t.testdir(), 'videos'))

/** A store and an archive that is marked as its own. */
const scenes: Record<string, (t: Test) => Promise<Scene>> = {
  SQLite: async (t) => marked({ taskStore: openSqlite(t), videoArchive: new FolderArchive(join(t.testdirName, 'videos')) }),
  PostgreSQL: async (t) => marked({ taskStore: await openPostgres(t, await createDatabase(t)), videoArchive: openFolder(t) }),
  'PostgreSQL, with S3': async (t) => {
    const { archive: videoArchive } = await createBucket(t)
    return marked({ taskStore: await openPostgres(t, await createDatabase(t)), videoArchive })
  }
}

async function marked (scene: Scene): Promise<Scene> {
  await checkArchiveOwner(scene)
  return scene
}

for (const [name, openScene] of Object.entries(scenes)) {
  t.test(`${name}: files that no task names are removed, and those of tasks that have a video or are storing one are kept`, name === 'SQLite' ? {} : slow, async (t) => {
    const scene = await openScene(t)
    const { taskStore, videoArchive } = scene
    const ended = await createEndedTask(taskStore, videoArchive)
    const storing = await createTask(taskStore, 'storing')
    await storeFile(videoArchive, 'mp4', storing.videoName ?? '')
    const canceled = await createTask(taskStore, 'failed')
    await storeFile(videoArchive, 'mp4', canceled.videoName ?? '')
    const removed = await createEndedTask(taskStore, videoArchive)
    await taskStore.remove(removed)
    const orphan = await storeFile(videoArchive, 'mp4')
    const kept = [ended.videoName, ended.posterName, storing.videoName].sort()
    const all = [...kept, canceled.videoName, removed.videoName, removed.posterName, orphan].sort()

    t.equal(await sweep(scene, { minAgeMs: hour }), 'own')
    t.same(await namesIn(videoArchive), all, 'young files are kept')
    t.equal(await sweep(scene, { minAgeMs: 0, mayContinue: async () => false }), 'own')
    t.same(await namesIn(videoArchive), all, 'another instance does the work')
    t.equal(await sweep(scene), 'own')
    t.same(await namesIn(videoArchive), kept)
  })

  t.test(`${name}: nothing is removed from an archive that another database has marked, and in the sweep that marks it`, name === 'SQLite' ? {} : slow, async (t) => {
    const scene = await openScene(t)
    const { videoArchive } = scene
    const orphan = await storeFile(videoArchive, 'mp4')
    const other = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
    t.teardown(() => other.close())
    t.equal(await sweep({ taskStore: other, videoArchive }), 'foreign')
    t.same(await namesIn(videoArchive), [orphan])
    t.equal(await videoArchive.readOwner(), await scene.taskStore.readId())
    t.equal(await sweep(scene), 'own')
    t.same(await namesIn(videoArchive), [])
  })
}

t.test('an archive without a mark gets one, and its orphans are removed by a later sweep', async (t) => {
  const scene = { taskStore: openSqlite(t), videoArchive: new FolderArchive(join(t.testdirName, 'videos')) }
  const orphan = await storeFile(scene.videoArchive, 'mp4')
  t.equal(await sweep(scene), 'new')
  t.same(await namesIn(scene.videoArchive), [orphan])
  t.equal(await sweep(scene), 'own')
  t.same(await namesIn(scene.videoArchive), [])
})

t.test('of two databases that mark an archive at the same time, one removes orphans', async (t) => {
  const videoArchive = openFolder(t)
  const stores = [createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log }), createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })]
  await Promise.all(stores.map((taskStore) => checkArchiveOwner({ taskStore, videoArchive })))
  const tasks = await Promise.all(stores.map((taskStore) => createEndedTask(taskStore, videoArchive)))
  const outcomes = await Promise.all(stores.map((taskStore) => sweep({ taskStore, videoArchive })))
  t.same(outcomes.toSorted(), ['foreign', 'own'])
  const own = tasks[outcomes.indexOf('own')]
  t.same(await namesIn(videoArchive), [own?.videoName, own?.posterName].sort())
  await Promise.all(stores.map((store) => store.close()))
})

t.test('SQLite: what dead processes have left unfinished is removed at once, and a write of this process is not', async (t) => {
  const scene = await scenes.SQLite?.(t)
  if (scene === undefined) throw new Error('No scene')
  const unfinished = join(t.testdirName, 'videos', 'unfinished', `${createArchiveName('mp4')}.1`)
  writeFileSync(unfinished, 'half')
  const task = await createTask(scene.taskStore, 'storing')
  const upload = beginWrite(scene.videoArchive, task.videoName ?? '')
  await upload.begun
  await sweep(scene)
  t.throws(() => writeFileSync(unfinished, '', { flag: 'r+' }), { code: 'ENOENT' })
  await upload.finish()
  await sweep(scene)
  t.same(await namesIn(scene.videoArchive), [task.videoName])
})

t.test('PostgreSQL: a write of another instance is left alone for a day, even if orphans are removed at once', slow, async (t) => {
  const scene = await marked({ taskStore: await openPostgres(t, await createDatabase(t)), videoArchive: openFolder(t) })
  const other = new FolderArchive(join(t.testdirName, 'videos'))
  const unfinished = join(t.testdirName, 'videos', 'unfinished', `${createArchiveName('mp4')}.1`)
  writeFileSync(unfinished, 'half')
  const task = await createTask(scene.taskStore, 'storing')
  const upload = beginWrite(other, task.videoName ?? '')
  await upload.begun
  await sweep(scene)
  const longAgo = new Date(Date.now() - day - hour)
  utimesSync(unfinished, longAgo, longAgo)
  await sweep(scene)
  t.throws(() => writeFileSync(unfinished, '', { flag: 'r+' }), { code: 'ENOENT' })
  await upload.finish()
  t.same(await namesIn(scene.videoArchive), [task.videoName])
})

for (const [store, openStore] of Object.entries({
  SQLite: async (t: Test) => {
    const taskStore = openSqlite(t)
    return { taskStore, breakStore: () => taskStore.close() }
  },
  PostgreSQL: async (t: Test) => {
    t.testdir()
    const databaseUrl = await createDatabase(t)
    return { taskStore: await openPostgres(t, databaseUrl), breakStore: async () => { await queryPostgres(databaseUrl, 'alter table task rename to gone') } }
  }
})) {
  t.test(`${store}: a folder of 10,000 names is searched in steps, and a store that fails on the way stops the removal`, slowOn(store), async (t) => {
    const { taskStore, breakStore } = await openStore(t)
    const folder = join(t.testdirName, 'archive')
    const videoArchive = new FolderArchive(folder)
    const scene = await marked({ taskStore, videoArchive })
    const kept: string[] = []
    for (let count = 0; count < 10; count++) {
      const { videoName, posterName } = await createEndedTask(taskStore, videoArchive)
      kept.push(videoName ?? '', posterName ?? '')
    }
    const longAgo = new Date(Date.now() - 2 * day)
    for (let count = 0; count < 10_000; count++) {
      const path = join(folder, createArchiveName('mp4'))
      writeFileSync(path, 'dream')
      if (count % 2 === 0) utimesSync(path, longAgo, longAgo)
    }
    t.equal(await sweep(scene, { minAgeMs: day }), 'own')
    const left = await namesIn(videoArchive)
    t.equal(left.length, 5_020, 'half of the files are old enough')
    t.ok(kept.every((name) => left.includes(name)))

    let steps = 0
    await t.rejects(sweep(scene, {
      mayContinue: async () => {
        if (++steps === 4) await breakStore()
        return true
      }
    }), { name: 'StoreUnavailableError' })
    const stopped = await namesIn(videoArchive)
    t.ok(stopped.length >= 5_020 - 600 && stopped.length < 5_020, `${stopped.length} files are left`)
    t.ok(kept.every((name) => stopped.includes(name)))
  })
}

t.test('a sweep ends when the instance stops', async (t) => {
  const scene = await scenes.SQLite?.(t)
  if (scene === undefined) throw new Error('No scene')
  const orphan = await storeFile(scene.videoArchive, 'mp4')
  const stopping = new AbortController()
  stopping.abort(new Error('The instance is stopping'))
  await t.rejects(sweep(scene, { signal: stopping.signal }), { message: 'The instance is stopping' })
  t.same(await namesIn(scene.videoArchive), [orphan])
})

function sweep (scene: Scene, options: Partial<Parameters<typeof sweepOrphans>[0]> = {}) {
  return sweepOrphans({ ...scene, minAgeMs: 0, mayContinue, log, signal, ...options })
}

/** A task that has named its video: it is storing it, or was canceled meanwhile. */
async function createTask (taskStore: TaskStore, state: 'storing' | 'failed'): Promise<Task> {
  return await storeTask(taskStore, { ...newTask('A whale', 'Cursed', 840, taskStore.now()), state, videoName: createArchiveName('mp4'), failure: state === 'failed' ? 'canceled' : null })
}

/** Begins to store a video and waits before its last bytes. */
function beginWrite (archive: VideoArchive, name: string) {
  const begun = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  async function * content () {
    yield Buffer.alloc(100)
    begun.resolve()
    await goOn.promise
    yield Buffer.alloc(100)
  }
  const stored = archive.store(name, content(), { contentType: 'video/mp4', signal })
  return {
    begun: begun.promise,
    finish: async () => {
      goOn.resolve()
      await stored
    }
  }
}

async function namesIn (archive: VideoArchive): Promise<string[]> {
  const names = []
  for await (const { name } of archive.list()) names.push(name)
  return names.sort()
}
