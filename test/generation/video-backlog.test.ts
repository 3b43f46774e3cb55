import t from 'tap'
import { until } from '../../harness/until.ts'
import { VideoBacklog } from '../../services/generation/video-backlog.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import { newTask } from '../../services/tasks/task.ts'
import { createArchiveName } from '../../services/videos/archive-name.ts'
import { DownloadFailedError } from '../../services/videos/download-errors.ts'
import { FolderArchive } from '../../services/videos/folder-archive.ts'
import { VideoCopier } from '../../services/videos/video-copier.ts'
import { VideoDownloader } from '../../services/videos/video-download.ts'
import { storeTask } from '../support/store-task.ts'

const address = 'http://127.0.0.1:9/output'

t.test('a poster that cannot be made is tried again for two hours, and then the task keeps none', async (t) => {
  const warnings: string[] = []
  const silent = () => {}
  const log = { debug: silent, info: silent, warn: (_details: object, message: string) => { warnings.push(message) }, error: silent }
  let lateMs = 0
  const now = () => Date.now() + lateMs
  const hoursMs = 60 * 60_000
  const taskStore = createSqliteTaskStore({ dataDir: ':memory:', now, log })
  t.teardown(() => taskStore.close())
  const videoArchive = new FolderArchive(t.testdir())
  const videoDownloader = new VideoDownloader({ isTrusted: () => true, headersFor: () => ({}), allowPrivate: true, maxBytes: 1_000, idleTimeoutMs: 1_000 })
  t.teardown(() => videoDownloader.close())
  let attempts = 0
  videoDownloader.fetchImage = async () => {
    attempts++
    throw new DownloadFailedError('The file cannot be had now')
  }
  const videoCopier = new VideoCopier({ archive: videoArchive, downloader: videoDownloader, maxConcurrent: 1 })
  const videoFile = { contentType: 'video/mp4', bytes: 10, storedAt: now(), seconds: 1, width: 1, height: 1 }
  const task = await storeTask(taskStore, {
    ...newTask('A whale', 'Cursed', 840, now()), state: 'completed', sourceUrl: address, posterSourceUrl: address, videoName: createArchiveName('mp4'), videoFile, videoWork: 'poster'
  })

  // The service was stopped for hours: the first attempt comes late, and its failure is not the last one.
  lateMs = 5 * hoursMs
  const backlog = new VideoBacklog({ taskStore, videoCopier, videoArchive, videoDownloader, frameExtractor: undefined, maxConcurrent: 1, intervalMs: 10, now, log })
  backlog.start()
  t.teardown(() => backlog.stop())
  await until(() => attempts >= 3, 'the poster to be tried again')
  t.match(await taskStore.get(task.id), { videoWork: 'poster' })
  t.equal(warnings.length, 1)
  lateMs += 2 * hoursMs
  await until(async () => (await taskStore.get(task.id))?.videoWork === null, 'the poster to be given up')
  t.match(await taskStore.get(task.id), { state: 'completed', videoFile, posterName: null })
  t.equal(warnings.length, 2)
})
