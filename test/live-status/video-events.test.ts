import type { FastifyInstance } from 'fastify'
import { connect } from 'node:net'
import t from 'tap'
import { until } from '../../harness/until.ts'
import { statusEvents } from '../../services/live-status/status-events.ts'
import { TaskSubscriptions } from '../../services/live-status/task-subscriptions.ts'
import { StoreUnavailableError } from '../../services/store/store-errors.ts'
import { presentTask, type TaskView } from '../../services/tasks/task-view.ts'
import { newTask, type Task } from '../../services/tasks/task.ts'
import { createDatabase } from '../support/postgres.ts'
import { slow } from '../support/quick.ts'
import { ended, postDream, startService } from '../support/service.ts'

interface StatusEvent { id: string, task: TaskView }

/** A client on a real socket that collects events as they come. */
async function listen (app: FastifyInstance, taskId: string, headers: Record<string, string> = {}) {
  const leaving = new AbortController()
  const response = await fetch(`${app.listeningOrigin}/video-status/${taskId}/events`, { headers, signal: leaving.signal })
  let text = ''
  const done = (async () => {
    for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString()
  })()
  const events = (): StatusEvent[] => Array.from(text.matchAll(/event: status\nid: (\d+)\ndata: (.*)\n\n/g), ([, id = '', data = '']) => ({ id, task: JSON.parse(data) }))
  return { response, done, events, text: () => text, leave: () => leaving.abort() }
}

const start = async (t: Parameters<typeof startService>[0], generationMs = 600_000, env: Record<string, string> = {}) => {
  const service = await startService(t, { emulator: { generationMs }, env })
  await service.app.listen({ port: 0, host: '127.0.0.1' })
  return service
}

t.test('a stream begins with the current task, sends every change, and ends with the task', async (t) => {
  const { app, emulator } = await start(t)
  const taskId = await postDream(app)
  const client = await listen(app, taskId)
  t.match(Object.fromEntries(client.response.headers), {
    'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'x-accel-buffering': 'no'
  })
  await until(() => client.events().at(-1)?.task.status === 'processing' || undefined, 'the event of the prediction')
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  await client.done
  const events = client.events()
  t.match(client.text(), /^retry: 5000\n/)
  t.match(events.at(-1), { id: '3', task: { status: 'completed', revision: 3 } })
  t.same(events.at(-1)?.task, (await app.inject({ url: `/video-status/${taskId}`, headers: { host: new URL(app.listeningOrigin).host } })).json())
  t.same(events.map(({ id }) => Number(id)), events.map(({ task }) => task.revision))
  t.equal(app.taskSubscriptions.size, 0)
})

t.test('a client that has received the end gets 204, and another one gets the end', async (t) => {
  const { app } = await start(t, 30)
  const taskId = await postDream(app)
  await ended(app, taskId)
  t.equal((await listen(app, taskId, { 'last-event-id': '3' })).response.status, 204)
  for (const seen of ['2', 'nonsense', '']) {
    const client = await listen(app, taskId, { 'last-event-id': seen })
    await client.done
    t.same(client.events().map(({ id }) => id), ['3'])
  }
})

t.test('the subscription of a client that leaves is closed, and a client that does not read delays nothing', async (t) => {
  const { app, emulator } = await start(t)
  const taskId = await postDream(app)
  const leaving = await listen(app, taskId)
  const { port } = new URL(app.listeningOrigin)
  const deaf = connect(Number(port), '127.0.0.1')
  t.teardown(() => deaf.destroy())
  deaf.write(`GET /video-status/${taskId}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  deaf.pause()
  leaving.leave()
  await leaving.done.catch(() => undefined)
  await until(() => emulator.predictions.length === 1 || undefined, 'the prediction')
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  t.match(await ended(app, taskId), { status: 'completed' })
  await until(() => app.taskSubscriptions.size === 0 || undefined, 'both streams to end')
})

t.test('a closing instance ends its streams properly', async (t) => {
  const { app } = await start(t)
  const client = await listen(app, await postDream(app))
  await until(() => client.events().length > 0 || undefined, 'the first event')
  await app.close()
  await client.done
  t.notOk(client.events().some(({ task }) => task.status === 'completed'))
})

t.test('changes on another instance are sent, and a stream that ended with its instance continues there', slow, async (t) => {
  const env = { DATABASE_URL: await createDatabase(t) }
  const { app: worker, emulator, apiUrl } = await start(t, 600_000, env)
  const taskId = await postDream(worker)
  await until(() => emulator.predictions.length === 1 || undefined, 'the prediction')
  const { app: other } = await start(t, 600_000, { ...env, REPLICATE_API_URL: apiUrl })
  const [leaver, stayer] = [await listen(other, taskId), await listen(worker, taskId)]
  await until(() => leaver.events().at(-1)?.task.status === 'processing' || undefined, 'the stream to begin')
  t.equal((await other.inject({ method: 'POST', url: `/video-status/${taskId}/cancel` })).statusCode, 200)
  await Promise.all([leaver.done, stayer.done])
  t.same(leaver.events().at(-1), stayer.events().at(-1))
  t.match(stayer.events().at(-1), { task: { status: 'failed', error_code: 'canceled' } })

  const second = await postDream(worker)
  const cut = await listen(other, second)
  await until(() => cut.events().at(-1)?.task.status === 'processing' || undefined, 'the stream to begin')
  await other.close()
  await cut.done
  const resumed = await listen(worker, second, { 'last-event-id': cut.events().at(-1)?.id ?? '' })
  for (const prediction of emulator.log.all) emulator.end(prediction, { status: 'succeeded' })
  await resumed.done
  t.match(resumed.events().at(-1), { task: { status: 'completed' } })
})

t.test('a stream sends heartbeats without reading, stays open while the store is unavailable, and catches up afterwards', async (t) => {
  const taskSubscriptions = new TaskSubscriptions()
  const present = (task: Task) => presentTask(task, { origin: 'http://127.0.0.1', retentionMs: null })
  const isAllowed = () => true
  let task: Task = newTask('A whale', 'Cursed', 840, Date.now())
  let isUnavailable = false
  let reads = 0
  const get = async () => {
    reads++
    if (isUnavailable) throw new StoreUnavailableError(new Error('unavailable'))
    return task
  }
  let text = ''
  const done = (async () => {
    const { signal } = new AbortController()
    for await (const part of statusEvents(task.id, { taskStore: { get }, taskSubscriptions, present, isAllowed, signal, heartbeatMs: 5 })) text += part
  })()
  const comments = () => text.split('\n:\n').length - 1
  await until(() => comments() >= 3 || undefined, 'signs of life')
  t.equal(reads, 1)
  isUnavailable = true
  taskSubscriptions.notify({ kind: 'resync' })
  const seen = comments()
  await until(() => comments() >= seen + 3 || undefined, 'heartbeats while the store is unavailable')
  t.equal(reads, 2)
  await t.rejects(taskSubscriptions.poll(get), { name: 'StoreUnavailableError' })
  isUnavailable = false
  // The event of its end was lost.
  task = { ...task, state: 'failed', failure: 'canceled', revision: 2 }
  await taskSubscriptions.poll(get)
  await done
  t.match(text, /id: 2\ndata: .*"canceled"/)
  t.equal(taskSubscriptions.size, 0)
})

t.test('an unknown task has no stream, and HEAD opens none', async (t) => {
  const { app } = await start(t)
  t.match((await app.inject('/video-status/unknown/events')).json(), { status: 404, code: 'task_not_found' })
  const taskId = await postDream(app)
  t.equal((await app.inject({ method: 'HEAD', url: `/video-status/${taskId}/events` })).statusCode, 405)
})

t.test('a stream ends at its next sign of life when its client may no longer read the task', async (t) => {
  const taskSubscriptions = new TaskSubscriptions()
  const task = newTask('A whale', 'Cursed', 840, Date.now())
  let isAllowed = true
  let text = ''
  const options = {
    taskStore: { get: async () => task },
    taskSubscriptions,
    present: (task: Task) => presentTask(task, { origin: 'http://127.0.0.1', retentionMs: null }),
    isAllowed: () => isAllowed,
    signal: new AbortController().signal,
    heartbeatMs: 5
  }
  for await (const part of statusEvents(task.id, options)) {
    text += part
    if (text.includes('\n:\n')) isAllowed = false
  }
  t.equal(text.split('event: status').length, 2)
  t.equal(taskSubscriptions.size, 0)
})
