import { createHash } from 'node:crypto'
import { readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import type { Outcome } from '../../replicate-emulator/outcome.ts'
import type { GenerationContext } from '../../services/generation/held-task.ts'
import { storeVideo } from '../../services/generation/store-video.ts'
import { TaskSubscriptions } from '../../services/live-status/task-subscriptions.ts'
import { RepeatedFailure } from '../../services/runtime/repeated-failure.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { newTask } from '../../services/tasks/task.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { FolderArchive } from '../../services/videos/folder-archive.ts'
import { slow } from '../support/quick.ts'
import { runService } from '../support/running-service.ts'
import { ended, postDream, startEmulator, startService, statusOf } from '../support/service.ts'
import { storeTask } from '../support/store-task.ts'

const silent = () => {}
const log = { debug: silent, info: silent, warn: silent, error: silent }

type Service = Awaited<ReturnType<typeof startService>>

/** The service with its videos in a folder that the test can take away. */
async function startWithFolder (t: Test, env: Record<string, string> = {}) {
  const dataDir = t.testdir()
  const service = await startService(t, { env: { DATA_DIR: dataDir, ...env } })
  const [folder, elsewhere] = [join(dataDir, 'videos'), join(dataDir, 'elsewhere')]
  return { ...service, folder, takeAway: () => rename(folder, elsewhere), putBack: () => rename(elsewhere, folder) }
}

function nameIn ({ video_url: url }: TaskView): string {
  return new URL(url ?? '').pathname.replace('/videos/', '')
}

async function sha256 (path: string): Promise<string> {
  return createHash('sha256').update(await readFile(path)).digest('hex')
}

/** The hash of the file that the emulator made for the only prediction. */
async function madeFile ({ emulator }: Pick<Service, 'emulator'>): Promise<string> {
  const [prediction] = emulator.log.all
  if (prediction === undefined) throw new Error('There is no prediction')
  return (await emulator.files.digest(prediction, 'video')).sha256
}

async function storing ({ app }: Service, taskId: string) {
  return await until(async () => {
    const task = await app.taskStore.get(taskId)
    return task?.state === 'storing' ? task : undefined
  }, 'the video to be stored')
}

/** The files of copies that are under way. */
async function copiesIn (folder: string): Promise<string[]> {
  return (await readdir(join(folder, 'unfinished'))).filter((name) => /^[\w-]{22}\.mp4/.test(name))
}

/** What `readdir` finds, without the folder of unfinished files. */
async function videosIn (folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => /\.(mp4|webm|mov)$/.test(name))
}

t.test('a task is completed when the archive has its video, to the byte', async (t) => {
  const service = await startWithFolder(t)
  const task = await ended(service.app, await postDream(service.app))
  t.match(task, { status: 'completed', video_url: /^http:\/\/localhost:80\/videos\/[\w-]{22}\.mp4$/, expires_at: /Z$/ })
  t.equal(await sha256(join(service.folder, nameIn(task))), await madeFile(service))
  t.match(await service.app.taskStore.get(task.task_id), { videoFile: { contentType: 'video/mp4', width: 360, height: 640 }, videoWork: null })
})

t.test('a connection that breaks in the middle of the file is continued', async (t) => {
  const service = await startWithFolder(t)
  service.emulator.addOutcome({ status: 'succeeded', video: { bytes: 3_000_000 } })
  service.emulator.addFault({ call: 'file', kind: 'malformed', times: 2 })
  const task = await ended(service.app, await postDream(service.app))
  t.equal(task.status, 'completed')
  t.equal(await sha256(join(service.folder, nameIn(task))), await madeFile(service))
})

t.test('a file that cannot be stored as a video fails the task', (t) => {
  const cases: Array<{ what: string, outcome?: Omit<Outcome, 'status'>, isGone?: boolean, env?: Record<string, string>, errorCode: string }> = [
    { what: 'HTML', outcome: { video: { content: 'html' } }, errorCode: 'no_output' },
    { what: 'HTML that claims to be a video', outcome: { video: { content: 'html', type: 'video/mp4' } }, errorCode: 'no_output' },
    { what: 'noise', outcome: { video: { content: 'noise', bytes: 100_000 } }, errorCode: 'no_output' },
    { what: 'nothing', outcome: { video: { bytes: 0 } }, errorCode: 'no_output' },
    { what: 'the beginning of a video', outcome: { video: { bytes: 500 } }, errorCode: 'no_output' },
    { what: 'a video that is too large', outcome: { video: { bytes: 300_000 } }, env: { MAX_VIDEO_BYTES: '200000' }, errorCode: 'storage_failed' },
    { what: 'a file that is gone', isGone: true, errorCode: 'storage_failed' }
  ]
  for (const { what, outcome = {}, isGone = false, env = {}, errorCode } of cases) {
    t.test(what, async (t) => {
      const service = await startWithFolder(t, env)
      service.emulator.addOutcome({ status: 'succeeded', ...outcome })
      if (isGone) service.emulator.addFault({ call: 'file', kind: 'status', status: 404, share: 1 })
      t.match(await ended(service.app, await postDream(service.app)), { status: 'failed', error_code: errorCode, video_url: null, poster_url: null })
      t.same(await videosIn(service.folder), [])
      t.same(await copiesIn(service.folder), [])
    })
  }
  t.end()
})

t.test('while the archive is unavailable the task is processing, and other tasks go to the provider', async (t) => {
  const service = await startWithFolder(t, { MAX_IN_FLIGHT: '1' })
  const { app, emulator } = service
  await service.takeAway()
  const taskIds = [await postDream(app), await postDream(app), await postDream(app)]
  for (const taskId of taskIds) t.match(await storing(service, taskId), { videoFile: null })
  t.equal(emulator.predictions.length, 3)
  for (const taskId of taskIds) t.match(await statusOf(app, taskId), { status: 'processing', video_url: null })
  await service.putBack()
  for (const taskId of taskIds) t.equal((await ended(app, taskId)).status, 'completed')
  t.equal((await videosIn(service.folder)).length, 3)
  t.ok(service.logLines.some((line) => line.includes('A video cannot be stored at the moment')))
})

t.test('at the deadline a task is completed without the archive, which gets its video later', slow, async (t) => {
  const service = await startWithFolder(t, { TASK_DEADLINE_SECONDS: '7' })
  await service.takeAway()
  const task = await ended(service.app, await postDream(service.app))
  t.match(task, { status: 'completed', video_url: /\/videos\/[\w-]{22}\.mp4$/ })
  t.match(await service.app.taskStore.get(task.task_id), { videoFile: null, videoWork: 'store' })
  await service.putBack()
  const stored = await until(async () => {
    const stored = await service.app.taskStore.get(task.task_id)
    return stored?.videoWork === null ? stored : undefined
  }, 'the late copy')
  t.ok(stored.videoFile)
  t.equal(await sha256(join(service.folder, nameIn(task))), await madeFile(service))
  t.same(await statusOf(service.app, task.task_id), task, 'nothing that a client sees has changed')
})

t.test('a video that the provider deletes before it could be stored is lost, with one line in the log', slow, async (t) => {
  const service = await startWithFolder(t, { TASK_DEADLINE_SECONDS: '7' })
  await service.takeAway()
  const task = await ended(service.app, await postDream(service.app))
  t.equal(task.status, 'completed')
  service.emulator.wipe()
  await service.putBack()
  await until(async () => (await service.app.taskStore.get(task.task_id))?.videoWork === null || undefined, 'the loss to be noticed')
  t.match(await service.app.taskStore.get(task.task_id), { state: 'completed', videoFile: null })
  t.equal(service.logLines.filter((line) => line.includes('A video is lost')).length, 1)
})

t.test('a task that is canceled while its video is copied leaves no file behind', async (t) => {
  const service = await startWithFolder(t)
  const { app, emulator, folder } = service
  emulator.addFault({ call: 'file', kind: 'slow', ms: 60_000 })
  const taskId = await postDream(app)
  await until(async () => (await copiesIn(folder)).length === 1 || undefined, 'the copy to begin')
  const canceled = (await app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })).json()
  t.match(canceled, { status: 'failed', error_code: 'canceled' })
  await until(async () => (await copiesIn(folder)).length === 0 || undefined, 'the unfinished file to be removed')
  t.same(await videosIn(folder), [])
  t.same(emulator.predictions.map(({ status }) => status), ['succeeded'], 'there is nothing to cancel at the provider')
})

t.test('the picture that a model made of its video becomes its poster, after the end of the task', async (t) => {
  const service = await startWithFolder(t)
  const { app, emulator } = service
  emulator.addOutcome({ status: 'succeeded', output: { video: '$VIDEO', thumbnail: '$THUMBNAIL' } })
  const taskId = await postDream(app)
  const { revision } = await ended(app, taskId)
  const task = await until(async () => {
    const task = await statusOf(app, taskId)
    return task.poster_url === null ? undefined : task
  }, 'the poster')
  t.equal(task.status, 'completed')
  t.ok(task.revision >= revision)
  const response = await app.inject(new URL(task.poster_url ?? '').pathname)
  t.match({ ...response.headers, status: response.statusCode }, { status: 200, 'content-type': 'image/jpeg' })
  const [prediction] = emulator.log.all
  if (prediction === undefined) throw new Error('There is no prediction')
  t.equal(createHash('sha256').update(response.rawPayload).digest('hex'), (await emulator.files.digest(prediction, 'thumbnail')).sha256)
  t.match(await app.taskStore.get(taskId), { videoWork: null })
})

t.test('a picture that is none or is gone leaves a task without a poster', async (t) => {
  for (const fault of [undefined, { call: 'thumbnail', kind: 'status', status: 404, share: 1 }] as const) {
    const service = await startService(t)
    service.emulator.addOutcome({ status: 'succeeded', output: { video: '$VIDEO', thumbnail: '$THUMBNAIL' }, thumbnail: { content: 'html', type: 'image/jpeg' } })
    if (fault !== undefined) service.emulator.addFault(fault)
    const { task_id: taskId } = await ended(service.app, await postDream(service.app))
    await until(async () => (await service.app.taskStore.get(taskId))?.videoWork === null || undefined, 'the poster to be given up')
    t.match(await statusOf(service.app, taskId), { status: 'completed', poster_url: null })
  }
})

t.test('a task that is canceled just after its video was stored leaves no file behind', async (t) => {
  const taskStore = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
  t.teardown(() => taskStore.close())
  const folder = join(t.testdir(), 'videos')
  const videoArchive = new FolderArchive(folder)
  const name = createArchiveName('mp4')
  const task = await storeTask(taskStore, { ...newTask('A whale', 'Cursed', 840, Date.now()), state: 'storing', sourceUrl: 'http://127.0.0.1:9/', videoName: name })
  const { signal } = new AbortController()
  const file = { contentType: 'video/mp4', bytes: 10, storedAt: 1, seconds: 1, width: 1, height: 1 }
  const videoCopier = {
    copy: async () => {
      await videoArchive.store(name, Readable.from([Buffer.alloc(10)]), { contentType: 'video/mp4', signal })
      t.match(await taskStore.applyTransition(task, { type: 'fail', failure: 'canceled' }), { outcome: 'applied' })
      return { outcome: 'stored', file }
    }
  }
  const copyFailure = new RepeatedFailure(log, { failed: '', succeeded: '' })
  const taskChanges = new TaskSubscriptions()
  // The boundary: a task that is only stored needs no more of the context than this.
  const context = { taskStore, videoArchive, videoCopier, copyFailure, taskChanges, signal, now: Date.now, log } as unknown as GenerationContext
  t.match(await storeVideo(task, context), { state: 'failed', failure: 'canceled' })
  t.same(await videosIn(folder), [])
})

t.test('after a kill in the middle of a copy the next process copies the video, and nothing is paid twice', slow, async (t) => {
  const { emulator, apiUrl } = await startEmulator(t)
  const dataDir = t.testdir()
  emulator.addOutcome({ status: 'succeeded', video: { bytes: 3_000_000 } })
  emulator.addFault({ call: 'file', kind: 'slow', ms: 60_000 })
  const env = { DATA_DIR: dataDir, REPLICATE_API_URL: apiUrl }
  const first = await runService(t, env)
  const url = await first.listeningUrl()
  const { task_id: taskId } = await (await fetch(`${url}/generate-video?dream=A%20whale&style=Animated`, { method: 'POST' })).json() as { task_id: string }
  await until(async () => (await copiesIn(join(dataDir, 'videos'))).length === 1 || undefined, 'the copy to begin')
  await first.kill()
  t.same(await videosIn(join(dataDir, 'videos')), [], 'nothing can be seen of half a file')

  const second = await runService(t, env)
  const secondUrl = await second.listeningUrl()
  const task = await until(async () => {
    const task = await (await fetch(`${secondUrl}/video-status/${taskId}`)).json() as TaskView
    return task.status === 'completed' ? task : undefined
  }, 'the video')
  t.equal(await sha256(join(dataDir, 'videos', nameIn(task))), await madeFile({ emulator }))
  t.equal(emulator.predictions.length, 1)
})
