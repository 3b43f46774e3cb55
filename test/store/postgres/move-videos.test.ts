import { createHash, randomBytes } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { freePort } from '../../../harness/free-port.ts'
import { until } from '../../../harness/until.ts'
import { checkArchiveOwner } from '../../../services/retention/archive-owner.ts'
import { sweepOrphans } from '../../../services/retention/orphan-sweep.ts'
import { createSqliteTaskStore } from '../../../services/store/sqlite/sqlite-task-store.ts'
import type { TaskStore } from '../../../services/store/task-store.ts'
import { newTask } from '../../../services/tasks/task.ts'
import { createArchiveName } from '../../../services/videos/archive-name.ts'
import { FolderArchive } from '../../../services/videos/folder-archive.ts'
import type { VideoArchive } from '../../../services/videos/video-archive.ts'
import { createBucket } from '../../support/bucket.ts'
import { createEndedTask, storeFile } from '../../support/ended-task.ts'
import { byId, moveToPostgres, openPostgres } from '../../support/move-to-postgres.ts'
import { createDatabase } from '../../support/postgres.ts'
import { runService } from '../../support/running-service.ts'
import { startEmulator } from '../../support/service.ts'
import { storeTask } from '../../support/store-task.ts'

const now = Date.now
const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }
const sampleVideo = new URL('../../../replicate-emulator/video/sample.mp4', import.meta.url)

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
  const storing = await storeTask(store, { ...newTask('A whale', 'Cursed', 840, now()), state: 'storing', sourceUrl: `${new URL(apiUrl).origin}/files/gone/output.mp4`, videoName: createArchiveName('mp4') })
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
