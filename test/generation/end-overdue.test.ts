import t from 'tap'
import { endOverdue } from '../../services/generation/generate-video.ts'
import type { GenerationOptions } from '../../services/generation/held-task.ts'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import { newTask, type Transition } from '../../services/tasks/task.ts'
import { storeTask } from '../support/store-task.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }
const submission = { startedAt: 1_000, model: 'luma/ray', input: { prompt: 'A dream' }, webhook: null, providerStartedAt: null, isAmbiguous: false }
const toSubmitting: Transition[] = [{ type: 'submit', submission }]
const toGenerating: Transition[] = [...toSubmitting, { type: 'attach_prediction', predictionId: 'p', predictionCreatedAt: null }]
const cases = [
  { state: 'queued', transitions: [], failure: 'provider_unavailable' },
  { state: 'submitting', transitions: toSubmitting, failure: 'submission_unknown' },
  { state: 'generating', transitions: toGenerating, failure: 'deadline_exceeded' }
] as const

for (const { state, transitions, failure } of cases) {
  t.test(`an overdue task that is ${state} fails with ${failure}, without a call to Replicate`, async (t) => {
    const taskStore = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
    t.teardown(() => taskStore.close())
    let task = await storeTask(taskStore, newTask('A dream', 'Cursed', 840, Date.now()))
    for (const transition of transitions) {
      const result = await taskStore.applyTransition(task, transition)
      if (result.outcome === 'applied') task = result.task
    }
    t.equal(task.state, state)
    await endOverdue(task, withoutReplicate({ taskStore, log }), new AbortController().signal)
    t.match(await taskStore.get(task.id), { state: 'failed', failure })
  })
}

t.test('an overdue task whose video is being stored is completed, and the copy is left to the backlog', async (t) => {
  const taskStore = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
  t.teardown(() => taskStore.close())
  let task = await storeTask(taskStore, newTask('A dream', 'Cursed', 840, Date.now()))
  for (const transition of [...toGenerating, { type: 'store', sourceUrl: 'https://replicate.delivery/a.mp4', posterSourceUrl: null, videoName: 'video-1' } as const]) {
    const result = await taskStore.applyTransition(task, transition)
    if (result.outcome === 'applied') task = result.task
  }
  let wakes = 0
  await endOverdue(task, { ...withoutReplicate({ taskStore, log }), videoBacklog: { wake: () => { wakes++ } } }, new AbortController().signal)
  t.match(await taskStore.get(task.id), { state: 'completed', videoFile: null, videoWork: 'store' })
  t.equal(wakes, 1)
})

/** The boundary: a task that is only ended needs no more of the options than this. */
function withoutReplicate (options: Pick<GenerationOptions, 'taskStore' | 'log'>): GenerationOptions {
  return { ...options, submissionGate: { blockReason: 'provider_unavailable' } } as unknown as GenerationOptions
}
