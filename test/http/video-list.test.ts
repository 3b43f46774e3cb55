import type { FastifyInstance } from 'fastify'
import { mkdir, rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import { deleteVideo } from '../../services/retention/delete-video.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { createDatabase } from '../support/postgres.ts'
import { slowOn } from '../support/quick.ts'
import { ended, postDream, startService, statusOf } from '../support/service.ts'
import { createStoredVideo } from '../support/stored-video.ts'

interface Page { items: TaskView[], next_cursor: string | null }

async function list (app: FastifyInstance, query: Record<string, string> = {}): Promise<Page> {
  const response = await app.inject({ url: '/video-status', query })
  if (response.statusCode !== 200) throw new Error(response.body)
  return response.json()
}

async function allPages (app: FastifyInstance, query: Record<string, string>): Promise<TaskView[]> {
  const items: TaskView[] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: Page = await list(app, cursor === '' ? query : { ...query, cursor })
    items.push(...page.items)
    cursor = page.next_cursor
  }
  return items
}

const stores: Record<string, (t: Test) => Promise<Record<string, string>>> = {
  SQLite: async () => ({}),
  PostgreSQL: async (t) => ({ DATABASE_URL: await createDatabase(t) })
}

for (const [store, envOf] of Object.entries(stores)) {
  t.test(`${store}: the list is newest first, and its pages do not change when new tasks arrive`, slowOn(store), async (t) => {
    const { app } = await startService(t, { emulator: { generationMs: 600_000 }, env: await envOf(t) })
    const ids: string[] = []
    for (let dream = 0; dream < 25; dream++) ids.unshift(await postDream(app, `Dream ${dream}`))
    const first = await list(app, { limit: '10' })
    t.same(first.items.map(({ task_id: id }) => id), ids.slice(0, 10))
    await postDream(app, 'Later')
    const second = await list(app, { limit: '10', cursor: first.next_cursor ?? '' })
    t.same(second.items.map(({ task_id: id }) => id), ids.slice(10, 20))
    const third = await list(app, { limit: '900', cursor: second.next_cursor ?? '' })
    t.same(third.items.map(({ task_id: id }) => id), ids.slice(20))
    t.equal(third.next_cursor, null)
    t.equal((await list(app)).items.length, 20)
    t.equal((await allPages(app, { limit: '1' })).length, 26)
  })

  t.test(`${store}: the list can be filtered by status and style`, slowOn(store), async (t) => {
    const { app, emulator } = await startService(t, { env: await envOf(t) })
    emulator.addOutcome({ status: 'failed', error: 'E005' })
    const failed = await postDream(app, 'One', 'Cursed')
    await ended(app, failed)
    const completed = await postDream(app, 'Two', 'Animated')
    const task = await ended(app, completed)
    t.same((await list(app, { status: 'failed' })).items.map(({ task_id: id }) => id), [failed])
    t.same((await list(app, { status: 'completed' })).items, [task])
    t.same((await list(app, { style: 'Animated' })).items, [task])
    t.same(await list(app, { style: 'Animated', status: 'pending' }), { items: [], next_cursor: null })
  })

  t.test(`${store}: a task that has ended can be deleted`, slowOn(store), async (t) => {
    const { app } = await startService(t, { env: await envOf(t) })
    const taskId = await postDream(app)
    await ended(app, taskId)
    const remove = (id: string) => app.inject({ method: 'DELETE', url: `/video-status/${id}` })
    const removed = await remove(taskId.toUpperCase())
    t.equal(removed.statusCode, 204)
    t.equal(removed.body, '')
    t.match((await app.inject(`/video-status/${taskId}`)).json(), { status: 404, code: 'task_not_found' })
    t.match((await remove(taskId)).json(), { status: 404, code: 'task_not_found' })
    t.same((await list(app)).items, [])
  })

  t.test(`${store}: the video and the poster of a deleted task are removed from the archive`, slowOn(store), async (t) => {
    const { app } = await startService(t, { env: await envOf(t) })
    const { task, name, posterName } = await createStoredVideo(app, { poster: Buffer.from('a poster') })
    const other = await createStoredVideo(app)
    t.ok(posterName !== undefined && await app.videoArchive.find(posterName))
    t.equal((await app.inject({ method: 'DELETE', url: `/video-status/${task.id}` })).statusCode, 204)
    t.equal(await app.videoArchive.find(name), undefined)
    t.equal(await app.videoArchive.find(posterName ?? ''), undefined)
    t.equal((await app.videoArchive.find(other.name))?.bytes, other.content.length, 'the video of another task stays')
  })

  t.test(`${store}: a task is deleted although its video is recorded at that moment`, slowOn(store), async (t) => {
    const { app } = await startService(t, { env: await envOf(t) })
    const { task, name, posterName } = await createStoredVideo(app, { poster: Buffer.from('a poster') })
    const read = await app.taskStore.get(task.id)
    t.ok(read)
    if (read === undefined) return
    const asItWas = { ...read, version: read.version - 1, posterName: null, posterFile: null }
    t.equal(await deleteVideo(asItWas, app), true)
    t.equal(await app.videoArchive.find(posterName ?? ''), undefined)
    t.equal(await app.videoArchive.find(name), undefined)
    t.equal(await app.taskStore.get(task.id), undefined)
    t.equal(await deleteVideo(read, app), false, 'it is gone')
  })

  t.test(`${store}: a task is canceled by its route, once`, slowOn(store), async (t) => {
    const { app, emulator } = await startService(t, { emulator: { generationMs: 600_000 }, env: await envOf(t) })
    const taskId = await postDream(app)
    await until(async () => (await statusOf(app, taskId)).status === 'processing' || undefined, 'the prediction')
    t.match((await app.inject({ method: 'DELETE', url: `/video-status/${taskId}` })).json(), { status: 409, code: 'task_not_finished' })
    const cancel = (headers: Record<string, string> = {}, body = '') => app.inject({ method: 'POST', url: `/video-status/${taskId}/cancel`, headers, body })
    const canceled = await cancel({ 'content-type': 'application/json' }, '{')
    t.match(canceled.json(), { task_id: taskId, status: 'failed', error_code: 'canceled', error: 'The video was canceled.' })
    t.match((await cancel()).json(), { status: 409, code: 'task_finished' })
    await until(() => emulator.predictions[0]?.status === 'canceled' || undefined, 'the prediction to be canceled')
    t.equal((await app.inject({ method: 'POST', url: '/video-status/unknown/cancel' })).statusCode, 404)
  })
}

t.test('a task is kept while its video cannot be removed', async (t) => {
  const dataDir = t.testdir()
  const { app, logLines } = await startService(t, { env: { DATA_DIR: dataDir } })
  const { task, name, posterName } = await createStoredVideo(app, { poster: Buffer.from('a poster') })
  // A folder that cannot be removed as a file is.
  const poster = join(dataDir, 'videos', posterName ?? '')
  await rm(poster)
  await mkdir(poster)
  const refused = await app.inject({ method: 'DELETE', url: `/video-status/${task.id}` })
  t.match(refused.json(), { status: 503, code: 'archive_unavailable' })
  t.equal(refused.headers['retry-after'], '5')
  t.ok(logLines.some((line) => line.includes('"level":50') && line.includes('The video archive is not available')))
  t.equal((await statusOf(app, task.id)).status, 'completed')
  await rmdir(poster)
  t.equal((await app.inject({ method: 'DELETE', url: `/video-status/${task.id}` })).statusCode, 204)
  t.equal(await app.videoArchive.find(name), undefined)
  t.equal((await app.inject(`/video-status/${task.id}`)).statusCode, 404)
})

t.test('invalid parameters of the list are 422 with every fault', async (t) => {
  const { app } = await startService(t)
  for (const cursor of ['x', 'AAAA', '%', 'A'.repeat(10_000), Buffer.from('not a cursor at').toString('base64url')]) {
    t.match((await app.inject({ url: '/video-status', query: { cursor } })).json(), { status: 422, errors: [{ loc: ['query', 'cursor'] }] })
  }
  const wrong = (await app.inject({ url: '/video-status', query: { status: 'done', style: 'Blue', limit: '0' } })).json()
  t.same(wrong.errors.map(({ loc }: { loc: string[] }) => loc[1]).sort(), ['limit', 'status', 'style'])
})

t.test('a service that other machines can reach refuses to list and to delete tasks', async (t) => {
  const { app } = await startService(t, { env: { HOST: '0.0.0.0', ALLOW_ANONYMOUS: 'true' } })
  const taskId = await postDream(app)
  await ended(app, taskId)
  t.match((await app.inject('/video-status')).json(), { status: 403, code: 'keys_required' })
  t.match((await app.inject({ method: 'DELETE', url: `/video-status/${taskId}` })).json(), { status: 403, code: 'keys_required' })
  t.equal((await app.inject(`/video-status/${taskId}`)).statusCode, 200)
})
