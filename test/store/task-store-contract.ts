import type { Test } from 'tap'
import { until } from '../../harness/until.ts'
import type { TaskStore } from '../../services/store/task-store.ts'
import { expiryOf, newTask, type Transition, type Task } from '../../services/tasks/task.ts'
import { matchList } from '../support/match-list.ts'
import { storeTask } from '../support/store-task.ts'

/** A backend under test: stores opened with the same `t` share one body of data. */
export interface Backend {
  /**
   * Opens a store on the data, as a process that starts does. The suite closes it.
   * @param now its clock, ms since the epoch; the real one if omitted
   */
  open (now?: () => number): Promise<TaskStore>
  /** Ends the store as `kill -9` would: the next `open` sees what was durable, and no claimed task was released. */
  kill (store: TaskStore): Promise<void>
}

const submission = { startedAt: 1_000, model: 'luma/ray', input: { prompt: 'A style. A dream' }, webhook: null, providerStartedAt: 1_200, isAmbiguous: false }
const submit = { type: 'submit', submission } as const
const attach = (predictionId: string) => ({ type: 'attach_prediction', predictionId, predictionCreatedAt: 1_500 }) as const
const sourceUrl = 'https://replicate.delivery/a.mp4'
const storeAs = (videoName: string) => ({ type: 'store', sourceUrl, posterSourceUrl: null, videoName }) as const
const videoFile = { contentType: 'video/mp4', bytes: 12_345, storedAt: 2_000, seconds: 5.5, width: 1280, height: 720 }
const complete = { type: 'complete', videoFile, videoWork: null } as const
const completeUnstored = { type: 'complete', videoFile: null, videoWork: 'store' } as const
const fail = { type: 'fail', failure: 'provider_error' } as const

function aTask (overrides: Partial<Task> = {}): Task {
  return { ...newTask('A whale in the clouds 🐋\n第二行', 'Realistic', 840, Date.now()), ...overrides }
}

/** Tests the contract of `task-store.ts` on any backend. Each call of `makeBackend` gives a backend without data. */
export function testTaskStore (t: Test, makeBackend: (t: Test) => Promise<Backend>): void {
  const scenario = (name: string, run: (t: Test, store: TaskStore, backend: Backend) => Promise<void>) =>
    t.test(name, async (t) => {
      const backend = await makeBackend(t)
      const store = await backend.open()
      t.teardown(() => store.close())
      await run(t, store, backend)
    })

  async function apply (store: TaskStore, task: Task, ...transitions: Transition[]): Promise<Task> {
    for (const transition of transitions) {
      const result = await store.applyTransition(task, transition)
      if (result.outcome !== 'applied') throw new Error(`${transition.type} was ${result.outcome}`)
      task = result.task
    }
    return task
  }

  scenario('a created task is read back as it was', async (t, store) => {
    const task = aTask()
    t.strictSame(await storeTask(store, task), task)
    t.strictSame(await store.get(task.id), task)
  })

  scenario('a task belongs to the API key that made it, whatever becomes of it', async (t, store) => {
    const task = await storeTask(store, aTask({ keyName: 'studio' }))
    const ended = await apply(store, task, submit, attach('prediction-1'), storeAs('video-1'), complete)
    t.equal(ended.keyName, 'studio')
    t.strictSame(await store.get(task.id), ended)
  })

  scenario('the list has the tasks of one API key, with every filter, or all tasks', async (t, store) => {
    const names = ['studio', 'app', null, 'studio', 'app', 'studio', null]
    const made: Task[] = []
    for (const [index, keyName] of names.entries()) made.unshift(await storeTask(store, aTask({ keyName, style: index < 3 ? 'Cursed' : 'Animated' })))
    const [last] = made.filter(({ keyName }) => keyName === 'studio')
    if (last === undefined) throw new Error('No task')
    await apply(store, last, fail)
    const list = async (query: object) => (await store.list({ status: undefined, style: undefined, keyName: undefined, before: undefined, limit: 10, ...query })).map(({ id }) => id)
    const idsOf = (...names: Array<string | null>) => made.filter(({ keyName }) => names.includes(keyName)).map(({ id }) => id)
    t.same(await list({}), idsOf('studio', 'app', null))
    t.same(await list({ keyName: 'studio' }), idsOf('studio'))
    t.same(await list({ keyName: 'app' }), idsOf('app'))
    t.same(await list({ keyName: 'studio', status: 'failed' }), [last.id])
    t.same(await list({ keyName: 'studio', status: 'pending' }), idsOf('studio').slice(1))
    t.same(await list({ keyName: 'studio', style: 'Cursed' }), idsOf('studio').slice(2))
    t.same(await list({ keyName: 'studio', status: 'pending', style: 'Animated' }), idsOf('studio').slice(1, 2))
    t.same(await list({ keyName: 'studio', before: last.id, limit: 1 }), idsOf('studio').slice(1, 2))
    for (const keyName of ['', 'Studio', 'null', "'"]) t.same(await list({ keyName }), [], keyName)
  })

  scenario('an id that no task has finds nothing', async (t, store) => {
    for (const id of ['', 'nonsense', '0'.repeat(10_000), "'; drop table task; --", '\u0000', aTask().id]) {
      t.equal(await store.get(id), undefined)
    }
  })

  scenario('a task keeps the trace that it belongs to', async (t, store) => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    const task = await storeTask(store, aTask({ traceparent }))
    t.equal((await store.get(task.id))?.traceparent, traceparent)
    t.equal((await apply(store, task, submit, attach('prediction-1'))).traceparent, traceparent)
    t.equal((await store.get(task.id))?.traceparent, traceparent)
    t.equal((await storeTask(store, aTask())).traceparent, null)
  })

  scenario('open tasks are counted by state and style, up to a limit', async (t, store) => {
    t.same(await store.summarizeOpen(10), [])
    const first = await storeTask(store, aTask({ createdAt: 1_000, deadlineAt: 5_000 }))
    await storeTask(store, aTask({ createdAt: 3_000, deadlineAt: 7_000 }))
    await apply(store, await storeTask(store, aTask({ createdAt: 2_000, deadlineAt: 6_000, style: 'Cursed' })), submit, attach('prediction-1'), storeAs('video-1'))
    await apply(store, await storeTask(store, aTask({ createdAt: 500, deadlineAt: 4_000 })), fail)
    const cursed = { state: 'storing', style: 'Cursed', tasks: 1, oldestCreatedAt: 2_000 } as const
    const sorted = (await store.summarizeOpen(10)).toSorted((a, b) => a.style.localeCompare(b.style))
    t.same(sorted, [cursed, { state: 'queued', style: 'Realistic', tasks: 2, oldestCreatedAt: 1_000 }])
    t.same(await store.summarizeOpen(1), [{ state: 'queued', style: 'Realistic', tasks: 1, oldestCreatedAt: 1_000 }], 'the earliest deadlines')
    await apply(store, first, fail)
    t.same(await store.summarizeOpen(1), [cursed], 'ended tasks do not count')
  })

  scenario('tasks are counted by the minutes in which they were created and ended', async (t, store, backend) => {
    await backend.kill(store)
    let now = 0
    const later = await backend.open(() => now)
    t.teardown(() => later.close())
    const minute = 30_000_000
    const at = (minutes: number) => (minute + minutes) * 60_000
    t.same(await later.countActivity(at(0), 10), [])
    const tasks = await Promise.all([0, 1, 1, 2, 3, 3].map((created, index) => storeTask(later, aTask({ createdAt: at(created) + index, updatedAt: at(created), deadlineAt: at(100 + index) }))))
    const [early, completed, failed, canceled, generating] = tasks
    if (early === undefined || completed === undefined || failed === undefined || canceled === undefined || generating === undefined) throw new Error('No tasks')
    now = at(4) - 1
    await apply(later, early, fail)
    now = at(4)
    await apply(later, completed, submit, attach('prediction-1'), storeAs('video-1'), complete)
    await apply(later, failed, fail)
    now = at(5) + 59_999
    await apply(later, canceled, { type: 'fail', failure: 'canceled' })
    await apply(later, generating, submit, attach('prediction-2'))
    const read = async (since: number, limit: number) => (await later.countActivity(since, limit))
      .map(({ state, createdMinute, endedMinute, ...rest }) => ({ state, created: createdMinute - minute, ended: endedMinute === null ? null : endedMinute - minute, ...rest }))
      .toSorted((a, b) => a.state.localeCompare(b.state) || a.created - b.created)
    const counted = {
      completed: { state: 'completed', created: 1, ended: 4, tasks: 1, oldestCreatedAt: at(1) + 1 },
      canceled: { state: 'failed', created: 2, ended: 5, tasks: 1, oldestCreatedAt: at(2) + 3 },
      generating: { state: 'generating', created: 3, ended: null, tasks: 1, oldestCreatedAt: at(3) + 4 },
      queued: { state: 'queued', created: 3, ended: null, tasks: 1, oldestCreatedAt: at(3) + 5 }
    }
    t.strictSame(await read(at(4), 10), [
      counted.completed, { state: 'failed', created: 1, ended: 4, tasks: 1, oldestCreatedAt: at(1) + 2 }, counted.canceled, counted.generating, counted.queued
    ], 'since the minute in which most have ended')
    t.strictSame(await read(at(4), 1), [counted.canceled, counted.generating], 'the last one that ended, and the one with the earliest deadline')
    await storeTask(later, aTask({ createdAt: at(3) + 2, updatedAt: at(3), deadlineAt: at(200) }))
    t.strictSame((await read(at(6), 10)), [counted.generating, { ...counted.queued, tasks: 2, oldestCreatedAt: at(3) + 2 }], 'tasks of the same minutes together, the oldest of which is named')
    await later.remove(await later.get(canceled.id) ?? canceled)
    t.same(await read(at(5), 10).then((rows) => rows.filter(({ ended }) => ended !== null)), [], 'a removed task is not counted')
  })

  scenario('every transition is stored in full; the revision counts only changes that clients see, the version all', async (t, store) => {
    const created = await storeTask(store, aTask())
    const submitted = await apply(store, created, submit)
    t.match(submitted, { state: 'submitting', submission, version: 2, revision: 1 })
    const waiting = await apply(store, submitted, { type: 'requeue', waitingFor: 'provider_account' })
    t.match(waiting, { state: 'queued', submission: null, waitingFor: 'provider_account', version: 3, revision: 1 })
    const generating = await apply(store, waiting, submit, attach('prediction-1'))
    t.match(generating, { state: 'generating', predictionId: 'prediction-1', predictionCreatedAt: 1_500, version: 5, revision: 2 })
    const advanced = await apply(store, generating, { type: 'progress', progress: 40 })
    t.match(advanced, { progress: 40, version: 6, revision: 3 })
    const storing = await apply(store, advanced, storeAs('video-1'))
    t.match(storing, { state: 'storing', sourceUrl, videoName: 'video-1', videoFile: null, version: 7, revision: 3 })
    const completed = await apply(store, storing, completeUnstored)
    t.match(completed, { state: 'completed', videoFile: null, videoWork: 'store', progress: 100, version: 8, revision: 4 })
    const stored = await apply(store, completed, { type: 'record_video', videoFile, videoWork: 'poster' })
    t.match(stored, { state: 'completed', videoFile, videoWork: 'poster', version: 9, revision: 4 })
    const poster = { name: 'poster-1', file: { contentType: 'image/jpeg', bytes: 9, storedAt: 3_000 } }
    const withPoster = await apply(store, stored, { type: 'record_poster', poster })
    t.match(withPoster, { state: 'completed', posterName: poster.name, posterFile: poster.file, videoWork: null, version: 10, revision: 5 })
    t.strictSame(await store.get(created.id), withPoster)
  })

  scenario('of several concurrent transitions of one task exactly one is applied', async (t, store) => {
    const task = await apply(store, await storeTask(store, aTask()), submit, attach('prediction-1'), storeAs('video-1'))
    const transitions: Transition[] = [complete, fail, { type: 'fail', failure: 'canceled' }, completeUnstored, complete]
    const results = await Promise.all(transitions.map((transition) => store.applyTransition(task, transition)))
    t.same(results.map(({ outcome }) => outcome).sort(), ['applied', 'stale', 'stale', 'stale', 'stale'])
    const winner = results.find((result) => result.outcome === 'applied')
    t.strictSame(await store.get(task.id), winner?.task)
  })

  scenario('a transition of an outdated version of a task changes nothing', async (t, store) => {
    const task = await storeTask(store, aTask())
    const submitted = await apply(store, task, submit)
    t.same(await store.applyTransition(task, fail), { outcome: 'stale' })
    t.strictSame(await store.get(task.id), submitted)
  })

  scenario('a transition of a task that does not exist is stale', async (t, store) => {
    t.same(await store.applyTransition(aTask(), submit), { outcome: 'stale' })
  })

  scenario('a transition that the table does not allow is refused', async (t, store) => {
    const task = await storeTask(store, aTask())
    await t.rejects(store.applyTransition(task, complete), { name: 'IllegalTransitionError' })
    const failed = await apply(store, task, fail)
    for (const transition of [submit, attach('p'), storeAs('v'), complete, fail]) await t.rejects(store.applyTransition(failed, transition), { name: 'IllegalTransitionError' })
    t.strictSame(await store.get(task.id), failed)
  })

  scenario('a prediction belongs to one task for good', async (t, store) => {
    const first = await apply(store, await storeTask(store, aTask()), submit, attach('prediction-1'), storeAs('video-of-prediction-1'), complete)
    const second = await apply(store, await storeTask(store, aTask()), submit)
    const third = await storeTask(store, aTask())
    const [taken, other] = await Promise.all([store.applyTransition(second, attach('prediction-1')), store.applyTransition(third, submit)])
    t.same(taken, { outcome: 'prediction_taken' })
    t.equal(other.outcome, 'applied', 'other writes of the same batch are not affected')
    t.strictSame(await store.get(second.id), second)
    t.equal((await store.get(first.id))?.predictionId, 'prediction-1')
  })

  scenario('a prediction still belongs to its task if that is deleted, or ended before the prediction was attached', async (t, store) => {
    const first = await apply(store, await storeTask(store, aTask()), submit, attach('prediction-1'), storeAs('video-of-prediction-1'), complete)
    const canceled = await apply(store, await storeTask(store, aTask()), submit, { type: 'fail', failure: 'canceled' })
    const second = await apply(store, await storeTask(store, aTask()), submit)
    t.ok(await store.remove(first))
    t.ok(await store.recordPredictionOwner('prediction-2', canceled.id))
    t.ok(await store.recordPredictionOwner('prediction-2', canceled.id), 'once more')
    t.notOk(await store.recordPredictionOwner('prediction-2', second.id))
    t.same(await store.findPredictionOwners(['prediction-1', 'prediction-2', 'prediction-3']), new Map([
      ['prediction-1', first.id], ['prediction-2', canceled.id]
    ]))
    for (const id of ['prediction-1', 'prediction-2']) t.same(await store.applyTransition(second, attach(id)), { outcome: 'prediction_taken' })
    t.ok(await store.recordPredictionOwner('prediction-3', second.id))
    t.match(await store.applyTransition(second, attach('prediction-3')), { outcome: 'applied', task: { predictionId: 'prediction-3' } })
  })

  scenario('if several tasks attach one prediction at the same time, exactly one gets it', async (t, store) => {
    const tasks = await Promise.all(Array.from({ length: 6 }, async () => apply(store, await storeTask(store, aTask()), submit)))
    const results = await Promise.all(tasks.map((task, index) => store.applyTransition(task, attach(index < 4 ? 'prediction-1' : `prediction-${index}`))))
    t.same(results.map(({ outcome }) => outcome).toSorted(), [...Array(3).fill('applied'), ...Array(3).fill('prediction_taken')])
    const owner = (await store.findPredictionOwners(['prediction-1'])).get('prediction-1')
    t.equal((await store.get(owner ?? ''))?.predictionId, 'prediction-1')
  })

  scenario('a stale attempt to attach a prediction leaves it free for another task', async (t, store) => {
    const task = await apply(store, await storeTask(store, aTask()), submit)
    const other = await apply(store, await storeTask(store, aTask()), submit)
    await apply(store, task, { type: 'requeue', waitingFor: null })
    t.same(await store.applyTransition(task, attach('prediction-1')), { outcome: 'stale' })
    t.match(await store.applyTransition(other, attach('prediction-1')), { outcome: 'applied' })
  })

  scenario('a submission is unresolved if its prediction may be unknown: while it is submitted, or if it was canceled meanwhile', async (t, store) => {
    const now = Date.now()
    await storeTask(store, aTask())
    const submitting = await apply(store, await storeTask(store, aTask()), submit, { type: 'mark_ambiguous' })
    t.match(submitting, { state: 'submitting', submission: { isAmbiguous: true }, revision: 1 })
    await apply(store, await storeTask(store, aTask()), submit, attach('prediction-1'))
    await apply(store, await storeTask(store, aTask()), { type: 'fail', failure: 'canceled' })
    await apply(store, await storeTask(store, aTask()), submit, { type: 'fail', failure: 'invalid_input' })
    await apply(store, await storeTask(store, aTask({ deadlineAt: now })), submit, { type: 'fail', failure: 'canceled' })
    const canceled = await apply(store, await storeTask(store, aTask()), submit, { type: 'fail', failure: 'canceled' })
    const byId = (a: Task, b: Task) => a.id < b.id ? -1 : 1
    t.strictSame((await store.listUnresolvedSubmissions(now)).toSorted(byId), [submitting, canceled])
    await store.recordPredictionOwner('prediction-2', canceled.id)
    t.strictSame(await store.listUnresolvedSubmissions(now), [submitting])
  })

  async function createFor (store: TaskStore, keyName: string | null, count: number): Promise<Task[]> {
    const created: Task[] = []
    for (let number = 0; number < count; number++) created.push(await storeTask(store, aTask({ keyName })))
    return created
  }

  const claimIds = async (store: TaskStore, limit: number) => (await store.claim(limit)).map(({ id }) => id)
  const idsAt = (tasks: Task[], ...indexes: number[]) => indexes.map((index) => tasks[index]?.id)

  scenario('the task of a key that was quiet has its turn before the many tasks of another key, also after a crash', async (t, store, backend) => {
    const flood = await createFor(store, 'flood', 6)
    const quiet = await createFor(store, 'quiet', 2)
    const keyless = await createFor(store, null, 2)
    t.same([flood, quiet, keyless].map((tasks) => tasks.map(({ startTag }) => startTag)), [[0, 1, 2, 3, 4, 5], [0, 1], [0, 1]])
    for (const task of [...flood, ...quiet]) t.strictSame(await store.get(task.id), task)
    const order = [...idsAt(flood, 0), ...idsAt(quiet, 0), ...idsAt(keyless, 0), ...idsAt(flood, 1), ...idsAt(quiet, 1), ...idsAt(keyless, 1), ...idsAt(flood, 2, 3, 4, 5)]
    await backend.kill(store)
    const successor = await backend.open()
    t.teardown(() => successor.close())
    t.same(await claimIds(successor, 4), order.slice(0, 4))
    t.same(await claimIds(successor, 10), order.slice(4))
  })

  scenario('a task whose turn is before that of tasks that are held already is claimed next', async (t, store) => {
    const flood = await createFor(store, 'flood', 6)
    t.same(await claimIds(store, 4), idsAt(flood, 0, 1, 2, 3))
    const quiet = await createFor(store, 'quiet', 1)
    await store.release(flood[2]?.id ?? '')
    t.same(await claimIds(store, 10), [...idsAt(quiet, 0), ...idsAt(flood, 2, 4, 5)])
    t.same(await claimIds(store, 10), [])
  })

  scenario('keys that always have tasks take turns, whichever of them came first', async (t, store) => {
    const early = await createFor(store, 'early', 5)
    t.same(await claimIds(store, 2), idsAt(early, 0, 1))
    for (const [index, task] of early.slice(0, 2).entries()) await apply(store, task, submit, attach(`prediction-${index}`))
    const late = await createFor(store, 'late', 5)
    early.push(...await createFor(store, 'early', 1))
    t.same(await claimIds(store, 10), [
      ...idsAt(early, 2), ...idsAt(late, 0), ...idsAt(early, 3), ...idsAt(late, 1), ...idsAt(early, 4), ...idsAt(late, 2, 3), ...idsAt(early, 5), ...idsAt(late, 4)
    ])
  })

  scenario('a task that was queued again keeps its turn, and does not hold up the others while it waits', async (t, store) => {
    const [first] = await createFor(store, 'early', 1)
    if (first === undefined) throw new Error('No task')
    const others = await createFor(store, 'early', 4)
    await claimIds(store, 4)
    for (const [index, task] of others.slice(0, 3).entries()) await apply(store, task, submit, attach(`prediction-${index}`))
    const again = await apply(store, first, submit, { type: 'requeue', waitingFor: 'provider_account' })
    t.equal(again.startTag, 0)
    const late = await createFor(store, 'late', 2)
    t.same(late.map(({ startTag }) => startTag), [3, 4], 'not those from 0 on: they would all go ahead of the others')
    await store.release(first.id)
    t.same(await claimIds(store, 10), [first.id, ...idsAt(late, 0), ...idsAt(others, 3), ...idsAt(late, 1)])
  })

  scenario('open tasks are claimed once, oldest first, up to the limit', async (t, store) => {
    const tasks = await Promise.all(Array.from({ length: 5 }, () => storeTask(store, aTask())))
    const ids = tasks.map(({ id }) => id)
    const first = await store.claim(2)
    const second = await store.claim(10)
    t.same([...first, ...second].map(({ id }) => id), ids)
    t.same(await store.claim(10), [])
    const late = await storeTask(store, aTask())
    t.same((await store.claim(10)).map(({ id }) => id), [late.id])
  })

  scenario('a task that has ended cannot be claimed', async (t, store) => {
    await apply(store, await storeTask(store, aTask()), fail)
    t.same(await store.claim(10), [])
    t.same(await store.claimOverdue(Number.MAX_SAFE_INTEGER, 10), [])
  })

  scenario('a released task can be claimed again, in the original order', async (t, store) => {
    const tasks = await Promise.all(Array.from({ length: 3 }, () => storeTask(store, aTask())))
    await store.claim(3)
    await store.release(tasks[1]?.id ?? '')
    await store.release('unknown')
    const late = await storeTask(store, aTask())
    t.same((await store.claim(10)).map(({ id }) => id), [tasks[1]?.id, late.id])
  })

  scenario('an overdue task can be claimed ahead of others, and only once', async (t, store) => {
    const now = Date.now()
    await storeTask(store, aTask())
    const overdue = await storeTask(store, aTask({ deadlineAt: now }))
    t.same((await store.claimOverdue(now - 1, 10)), [])
    t.same((await store.claimOverdue(now, 10)).map(({ id }) => id), [overdue.id])
    t.same(await store.claimOverdue(now, 10), [])
    t.notOk((await store.claim(10)).some(({ id }) => id === overdue.id))
  })

  scenario('only submitted tasks can be claimed ahead of others', async (t, store) => {
    await storeTask(store, aTask())
    const submitting = await apply(store, await storeTask(store, aTask()), submit)
    const generating = await apply(store, await storeTask(store, aTask()), submit, attach('prediction-1'))
    const storing = await apply(store, await storeTask(store, aTask()), submit, attach('prediction-3'), storeAs('video-3'))
    await apply(store, await storeTask(store, aTask()), submit, attach('prediction-2'), storeAs('video-of-prediction-2'), complete)
    await apply(store, await storeTask(store, aTask()), submit, { type: 'fail', failure: 'canceled' })
    const first = await store.claimSubmitted(1)
    t.equal(first.length, 1)
    const claimed = [...first, ...await store.claimSubmitted(10)]
    t.strictSame(claimed.toSorted((a, b) => a.id < b.id ? -1 : 1), [submitting, generating, storing])
    t.same(await store.claimSubmitted(10), [])
    t.notOk((await store.claim(10)).some(({ id }) => [submitting.id, generating.id, storing.id].includes(id)))
    await store.release(generating.id)
    t.strictSame(await store.claimSubmitted(10), [generating])
  })

  scenario('a task is found by the names of its video and of its poster', async (t, store) => {
    const poster = { name: 'poster-1', file: { contentType: 'image/jpeg', bytes: 9, storedAt: 3_000 } }
    const generating = await apply(store, await storeTask(store, aTask()), submit, attach('prediction-1'))
    const storing = await apply(store, generating, storeAs('video-1'))
    t.strictSame(await store.getByFileName('video-1'), storing)
    t.equal(await store.getByFileName('poster-1'), undefined)
    const completed = await apply(store, storing, { ...complete, videoWork: 'poster' }, { type: 'record_poster', poster })
    for (const name of ['video-1', 'poster-1']) t.strictSame(await store.getByFileName(name), completed)
    for (const name of ['', 'video-2', "'; drop table task; --"]) t.equal(await store.getByFileName(name), undefined)
    const canceled = await apply(store, await storeTask(store, aTask()), submit, attach('prediction-2'), storeAs('video-2'), fail)
    t.strictSame(await store.filterFileNames(['video-1', 'video-2', 'video-3', 'poster-1', 'poster-2']), new Set(['video-1', 'poster-1']), `not those of ${canceled.state} tasks`)
    t.ok(await store.remove(completed))
    t.equal(await store.getByFileName('video-1'), undefined)
    t.strictSame(await store.filterFileNames(['video-1', 'poster-1']), new Set())
  })

  scenario('the work that is left for videos is listed in pages, until it is done or the video is lost', async (t, store) => {
    const tasks: Task[] = []
    for (const number of [1, 2, 3, 4]) {
      const end = number === 4 ? complete : completeUnstored
      tasks.push(await apply(store, await storeTask(store, aTask()), submit, attach(`prediction-${number}`), storeAs(`video-${number}`), end))
    }
    const [first, second, third] = tasks
    if (first === undefined || second === undefined) throw new Error('No tasks')
    t.strictSame(await store.listVideoWork(undefined, 2), [first, second])
    t.strictSame(await store.listVideoWork(second.id, 10), [third])
    const posterLeft = await apply(store, first, { type: 'record_video', videoFile, videoWork: 'poster' })
    await apply(store, second, { type: 'lose_video' })
    t.strictSame(await store.listVideoWork(undefined, 10), [posterLeft, third])
    await apply(store, posterLeft, { type: 'record_poster', poster: null })
    t.strictSame(await store.listVideoWork(undefined, 10), [third])
    await t.rejects(store.applyTransition(await store.get(first.id) ?? first, { type: 'record_video', videoFile, videoWork: null }), { name: 'IllegalTransitionError' })
  })

  scenario('ended tasks are listed when they have expired: not before their deadline, and with a callback address not for a day', async (t, store, backend) => {
    const hour = 3_600_000
    // After the clock of the store that ends them.
    const now = Date.now() + 60_000
    const end = async (overrides: Partial<Task>) => apply(store, await storeTask(store, aTask({ deadlineAt: now - 1, ...overrides })), fail)
    const created = [
      await end({ updatedAt: now + 1_000 }), await end({ updatedAt: now + 2_000, callbackUrl: 'https://app.example/' }), await end({ updatedAt: now + 3_000 }),
      await end({ updatedAt: now + 4_000, deadlineAt: now + 10 * hour })
    ]
    await storeTask(store, aTask({ deadlineAt: now - 1, updatedAt: now }))
    const listed = async (later: number, retentionMs: number, limit = 10) => {
      await store.close()
      store = await backend.open(() => now + later)
      t.teardown(() => store.close())
      const tasks = await store.listExpired(retentionMs, limit)
      t.strictSame(tasks, created.filter((task) => expiryOf(task, retentionMs) <= now + later).slice(0, limit))
      return tasks.map(({ id }) => created.findIndex((task) => task.id === id))
    }
    t.same(await listed(1_000, 2_000.5), [])
    t.same(await listed(3_000, 2_000), [0])
    t.same(await listed(5_000, 2_000), [0, 2])
    t.same(await listed(5_000, 2_000, 1), [0])
    t.same(await listed(10 * hour, 2_000), [0, 2, 3])
    t.same(await listed(24 * hour + 1_000, 2_000), [0, 2, 3])
    t.same(await listed(24 * hour + 2_000, 2_000), [0, 1, 2, 3])
    t.same(await listed(24 * hour + 2_000, 25 * hour), [])
  })

  scenario('a lease of one kind of work says nothing about another, and is free once it is released', async (t, store, backend) => {
    const other = store.isExclusive ? store : await backend.open()
    if (!store.isExclusive) t.teardown(() => other.close())
    t.ok(await store.acquireLease('videos', 60_000))
    t.ok(await store.acquireLease('videos', 60_000), 'the holder extends it')
    t.equal(await other.acquireLease('videos', 60_000), store.isExclusive)
    t.ok(await other.acquireLease('retention', 60_000))
    await store.releaseLease('videos')
    t.ok(await other.acquireLease('videos', 0))
    t.ok(await store.acquireLease('videos', 60_000), 'it has expired')
  })

  scenario('a store has an id of its own, which stays the same', async (t, store, backend) => {
    const id = await store.readId()
    t.match(id, /^[0-9a-f-]{32,36}$/)
    await store.close()
    const later = await backend.open()
    t.teardown(() => later.close())
    t.equal(await later.readId(), id)
    const another = await (await makeBackend(t)).open()
    t.teardown(() => another.close())
    t.not(await another.readId(), id)
  })

  const aTaskWithCallback = () => aTask({ callbackUrl: 'https://app.example/dreams' })

  async function claimDelivery (store: TaskStore) {
    return until(async () => (await store.deliveries.claim(1))[0], 'a delivery to be due')
  }

  scenario('when a task with a callback address ends, its delivery is claimed once, even if several transitions end it', async (t, store) => {
    let notifications = 0
    store.deliveries.onDue(() => { notifications++ })
    await apply(store, await storeTask(store, aTask()), fail)
    const task = await apply(store, await storeTask(store, aTaskWithCallback()), submit, attach('prediction-1'), storeAs('video-1'))
    t.same(await store.deliveries.claim(10), [])
    t.equal(notifications, 0)
    await Promise.all([complete, fail, complete].map((transition) => store.applyTransition(task, transition)))
    t.ok(notifications >= 1)
    const claims = await Promise.all([store.deliveries.claim(10), store.deliveries.claim(10)])
    matchList(t, claims.flat(), [{ task: await store.get(task.id), attempt: 1 }])
    t.equal(claims.flat().length, 1)
  })

  scenario('a delivery is claimed again when its next attempt is due, until it is finished', async (t, store) => {
    const task = await apply(store, await storeTask(store, aTaskWithCallback()), fail)
    const later = await apply(store, await storeTask(store, aTaskWithCallback()), fail)
    const [first, other] = await store.deliveries.claim(10)
    if (first === undefined || other === undefined) throw new Error('No deliveries')
    t.same([first.task, other.task], [task, later])
    await store.deliveries.finishAttempt(other, { inMs: 3_600_000 })
    await store.deliveries.finishAttempt(first, { inMs: 20 })
    const second = await claimDelivery(store)
    t.match(second, { task, attempt: 2 })
    await store.deliveries.finishAttempt(second)
    t.same(await store.deliveries.claim(10), [])
  })

  scenario('removing a task removes its delivery', async (t, store) => {
    const task = await apply(store, await storeTask(store, aTaskWithCallback()), fail)
    const held = await apply(store, await storeTask(store, aTaskWithCallback()), fail)
    t.ok(await store.remove(task))
    const [delivery] = await store.deliveries.claim(10)
    if (delivery === undefined) throw new Error('No delivery')
    t.same(delivery.task, held)
    t.ok(await store.remove(held))
    await store.deliveries.finishAttempt(delivery, { inMs: 0 })
    t.same(await store.deliveries.claim(10), [])
  })

  scenario('acknowledged writes survive a kill: afterwards every open task and every delivery can be claimed', async (t, store, backend) => {
    const open = await Promise.all(Array.from({ length: 3 }, () => storeTask(store, aTask())))
    const generating = await apply(store, await storeTask(store, aTask()), submit, attach('prediction-1'))
    const ended = await apply(store, await storeTask(store, aTaskWithCallback()), fail)
    await store.claim(10)
    await store.deliveries.claim(10)
    await backend.kill(store)
    const successor = await backend.open()
    t.teardown(() => successor.close())
    t.strictSame(await successor.get(generating.id), generating)
    t.strictSame(await successor.get(ended.id), ended)
    const claimed: Task[] = []
    await until(async () => {
      claimed.push(...await successor.claim(10))
      return claimed.length >= 4 || undefined
    }, 'the open tasks to be claimed')
    t.strictSame(claimed.toSorted((a, b) => a.id < b.id ? -1 : 1), [...open, generating])
    t.match(await claimDelivery(successor), { task: ended, attempt: 1 })
  })

  const capped = (ofKey: number | null, inAll: number | null) => ({ ofKey, inAll })
  const refusedBy = (of: 'key' | 'all') => ({ outcome: 'too_many_open_tasks', of } as const)

  scenario('a cap on open tasks refuses further ones of the key, or of all, and an ended task frees its place', async (t, store, backend) => {
    const create = async (target: TaskStore, keyName: string | null, ofKey: number | null, inAll: number | null = null) => {
      const task = aTask({ keyName })
      const created = await target.create(task, capped(ofKey, inAll))
      t.equal((await target.get(task.id))?.id, created.outcome === 'created' ? task.id : undefined)
      return created
    }
    const first = await create(store, 'a', 2)
    t.match([first, await create(store, 'a', 2)], [{ outcome: 'created' }, { outcome: 'created' }])
    t.same(await create(store, 'a', 2), refusedBy('key'))
    t.match(await create(store, 'a', 3), { outcome: 'created' }, 'a higher cap takes effect at once')
    t.same(await create(store, 'a', 3), refusedBy('key'))
    t.match([await create(store, 'b', 1), await create(store, null, 1)], [{ outcome: 'created' }, { outcome: 'created' }], 'others have caps of their own')
    t.same([await create(store, 'b', 1), await create(store, null, 1)], [refusedBy('key'), refusedBy('key')])
    t.same(await create(store, 'c', null, 5), refusedBy('all'))
    t.match(await create(store, 'c', null, 6), { outcome: 'created' })
    t.match(await create(store, 'c', null), { outcome: 'created' }, 'no cap')
    if (first.outcome !== 'created') throw new Error(first.outcome)
    const submitted = await apply(store, first.task, submit, attach('prediction-1'))
    t.same([await create(store, 'a', 3), await create(store, 'd', null, 7)], [refusedBy('key'), refusedBy('all')], 'a submitted task is open')
    await apply(store, submitted, { type: 'fail', failure: 'canceled' })
    t.match(await create(store, 'a', 3, 7), { outcome: 'created' })
    t.same(await create(store, 'a', null, 7), refusedBy('all'))
    await backend.kill(store)
    const successor = await backend.open()
    t.teardown(() => successor.close())
    t.same([await create(successor, 'a', 3), await create(successor, 'd', null, 7)], [refusedBy('key'), refusedBy('all')])
  })

  scenario('of creations at the same moment exactly as many succeed as the caps allow', async (t, store) => {
    const keys = ['a', 'b', null]
    const caps = new Map<string | null, number>([['a', 7], ['b', 50], [null, 4]])
    const requests = Array.from({ length: 150 }, (_, index) => ({ task: aTask({ keyName: keys[index % 3] ?? null }), key: `key-${index}` }))
    const outcomes = await Promise.all(requests.map(({ task, key }, index) => index % 2 === 0
      ? store.create(task, capped(caps.get(task.keyName) ?? null, 40))
      : store.createIdempotent(task, { scope: '', key, fingerprint: key, code: 200 }, capped(caps.get(task.keyName) ?? null, 40))))
    const createdOf = (keyName: string | null) => requests.filter(({ task }, index) => task.keyName === keyName && outcomes[index]?.outcome === 'created').length
    t.same(keys.map(createdOf), [7, 29, 4])
    const open = await store.summarizeOpen(1_000)
    t.equal(open.reduce((sum, { tasks }) => sum + tasks, 0), 40)
    t.equal((await store.claim(1_000)).length, 40, 'nothing is left of the others')
  })

  scenario('a request that a cap refused does not use up its key, and a replay is answered while the cap is reached', async (t, store) => {
    const request = (key: string) => ({ scope: 'a', key, fingerprint: key, code: 200 } as const)
    const first = aTask({ keyName: 'a' })
    t.same(await store.createIdempotent(first, request('one'), capped(1, null)), { outcome: 'created' })
    const refused = () => store.createIdempotent(aTask({ keyName: 'a' }), request('two'), capped(1, null))
    t.same(await Promise.all([refused(), refused()]), [refusedBy('key'), refusedBy('key')])
    t.same(await store.createIdempotent(aTask({ keyName: 'a' }), request('one'), capped(1, 1)), { outcome: 'replayed', taskId: first.id, code: 200 })
    await apply(store, await store.get(first.id) ?? first, fail)
    const second = aTask({ keyName: 'a' })
    t.same(await store.createIdempotent(second, { ...request('two'), fingerprint: 'another' }, capped(1, null)), { outcome: 'created' })
    t.same(await store.createIdempotent(aTask({ keyName: 'a' }), { ...request('two'), fingerprint: 'another' }, capped(1, null)), { outcome: 'replayed', taskId: second.id, code: 200 })
    t.same(await store.createIdempotent(aTask({ keyName: 'a' }), request('one'), capped(1, 1)), { outcome: 'replayed', taskId: first.id, code: 200 })
  })

  scenario('an idempotency key is free again after 24 hours, and not before', async (t, store, backend) => {
    await backend.kill(store)
    let now = Date.now()
    const later = await backend.open(() => now)
    t.teardown(() => later.close())
    const request = { scope: '', key: 'a-key', fingerprint: 'one', code: 200 } as const
    const first = aTask()
    t.same(await later.createIdempotent(first, request), { outcome: 'created' })
    now += 86_400_000 - 1
    t.same(await later.createIdempotent(aTask(), request), { outcome: 'replayed', taskId: first.id, code: 200 })
    t.same(await later.createIdempotent(aTask(), { ...request, fingerprint: 'another' }), { outcome: 'key_reused' })
    t.same(await later.createIdempotent(aTask(), { ...request, scope: 'another' }), { outcome: 'created' }, 'each scope has its own keys')
    now += 1
    const second = aTask()
    t.same(await later.createIdempotent(second, { ...request, fingerprint: 'another' }), { outcome: 'created' })
    t.same(await later.createIdempotent(aTask(), { ...request, fingerprint: 'another' }), { outcome: 'replayed', taskId: second.id, code: 200 })
    t.ok(await later.get(first.id), 'the task of the old key is still there')
  })

  scenario('of many concurrent requests with one key one creates the task, and all get its id', async (t, store) => {
    const request = { scope: '', key: 'a-key', fingerprint: 'one', code: 202 } as const
    const tasks = Array.from({ length: 200 }, () => aTask())
    const outcomes = await Promise.all(tasks.map((task) => store.createIdempotent(task, { ...request, code: 200 })))
    const others = await Promise.all(tasks.map((_, index) => store.createIdempotent(aTask(), index % 2 === 0 ? request : { ...request, fingerprint: 'another' })))
    const winner = tasks[outcomes.findIndex(({ outcome }) => outcome === 'created')]
    t.equal(outcomes.filter(({ outcome }) => outcome === 'created').length, 1)
    const replayed = { outcome: 'replayed', taskId: winner?.id ?? '', code: 200 } as const
    t.same(outcomes.filter(({ outcome }) => outcome !== 'created'), Array.from({ length: 199 }, () => replayed))
    // Requests that share one database call still get their own outcome, whichever of them came first.
    t.same(others, others.map((_, index) => index % 2 === 0 ? replayed : { outcome: 'key_reused' }))
    t.equal((await store.get(winner?.id ?? ''))?.startTag, 0)
    t.same((await store.list({ status: undefined, style: undefined, keyName: undefined, before: undefined, limit: 10 })).map(({ id }) => id), [winner?.id])
  })

  scenario('the same idempotency key of two API keys makes a task of each, also at the same moment', async (t, store) => {
    const request = { key: 'a-key', fingerprint: 'one', code: 200 } as const
    const scopes = ['studio', 'app', '', 'studio', 'app', '']
    const tasks = scopes.map((scope) => aTask({ keyName: scope || null }))
    const outcomes = await Promise.all(tasks.map((task, index) => store.createIdempotent(task, { ...request, scope: scopes[index] ?? '' })))
    t.same(outcomes, [...Array(3).fill({ outcome: 'created' }), ...tasks.slice(0, 3).map(({ id }) => ({ outcome: 'replayed', taskId: id, code: 200 }))])
    t.same(await store.createIdempotent(aTask(), { ...request, scope: 'app', fingerprint: 'two' }), { outcome: 'key_reused' })
    t.same(await store.createIdempotent(aTask(), { ...request, scope: 'other', fingerprint: 'two' }), { outcome: 'created' })
  })

  scenario('the key of a deleted task creates no second task and does not name the deleted one', async (t, store) => {
    const request = { scope: '', key: 'a-key', fingerprint: 'one', code: 200 } as const
    const task = aTask()
    await store.createIdempotent(task, request)
    const ended = await apply(store, task, fail)
    const [isRemoved, ...meanwhile] = await Promise.all([store.remove(ended), ...Array.from({ length: 20 }, () => store.createIdempotent(aTask(), request))])
    t.ok(isRemoved)
    for (const { outcome } of meanwhile) t.match(outcome, /^(replayed|task_deleted)$/)
    t.same(await store.createIdempotent(aTask(), request), { outcome: 'task_deleted' })
    t.same(await store.createIdempotent(aTask(), { ...request, fingerprint: 'another' }), { outcome: 'key_reused' })
    t.same(await store.list({ status: undefined, style: undefined, keyName: undefined, before: undefined, limit: 10 }), [])
  })

  scenario('an open store answers a ping, and a closed one rejects every call as unavailable', async (t, store) => {
    await store.ping()
    await store.close()
    await t.rejects(store.ping(), { name: 'StoreUnavailableError' })
    await t.rejects(store.get('x'), { name: 'StoreUnavailableError' })
    await t.rejects(storeTask(store, aTask()), { name: 'StoreUnavailableError' })
  })
}
