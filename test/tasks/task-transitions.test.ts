import fc from 'fast-check'
import t from 'tap'
import { createSqliteTaskStore } from '../../services/store/sqlite/sqlite-task-store.ts'
import type { TaskStore } from '../../services/store/task-store.ts'
import { transitions, isOpen, applyTransition, newTask, statusOf, taskStatuses, type Transition, type Task } from '../../services/tasks/task.ts'
import { storeTask } from '../support/store-task.ts'

const log = { debug () {}, info () {}, warn () {}, error () {} }

const submission = { startedAt: 0, model: 'luma/ray', input: {}, webhook: null, providerStartedAt: null, isAmbiguous: false }
const submit: Transition = { type: 'submit', submission }
const requeue: Transition = { type: 'requeue', waitingFor: null }
const attach = (predictionId: string): Transition => ({ type: 'attach_prediction', predictionId, predictionCreatedAt: null })
const progress = (progress: number): Transition => ({ type: 'progress', progress })
const store: Transition = { type: 'store', sourceUrl: 'https://replicate.delivery/a.mp4', posterSourceUrl: null, videoName: 'video-1' }
const videoFile = { contentType: 'video/mp4', bytes: 1_000, storedAt: 2_000, seconds: 5, width: 640, height: 480 }
const poster = { name: 'poster-1', file: { contentType: 'image/jpeg', bytes: 100, storedAt: 2_500 } }
const complete: Transition = { type: 'complete', videoFile, videoWork: 'poster' }
const completeUnstored: Transition = { type: 'complete', videoFile: null, videoWork: 'store' }
const recordVideo: Transition = { type: 'record_video', videoFile, videoWork: 'poster' }
const recordPoster: Transition = { type: 'record_poster', poster }
const loseVideo: Transition = { type: 'lose_video' }
const fail = (failure: 'provider_error' | 'canceled' | 'deadline_exceeded' | 'submission_unknown'): Transition => ({ type: 'fail', failure })

const anyTransition: fc.Arbitrary<Transition> = fc.oneof(
  fc.constantFrom<Transition>(submit, { type: 'mark_ambiguous' }, requeue, store, complete, completeUnstored, recordVideo, recordPoster, loseVideo, fail('provider_error'), fail('canceled'), fail('deadline_exceeded')),
  fc.constantFrom('p1', 'p2').map(attach),
  fc.integer({ min: 0, max: 100 }).map(progress)
)

/** The actors that may race for one task; each decides by the version of the task that it read last. */
const nextTransition = {
  submission: (task: Task) => task.state === 'queued' ? submit : task.state === 'submitting' ? attach('p1') : undefined,
  takeover: (task: Task) => task.state === 'submitting' ? requeue : undefined,
  adoption: (task: Task) => task.state === 'submitting' ? attach('p2') : undefined,
  poll: (task: Task) => task.state === 'generating' ? progress((task.progress ?? 0) + 30) : undefined,
  verdict: (task: Task) => task.state === 'generating' ? store : undefined,
  copy: (task: Task) => task.state === 'storing' ? complete : undefined,
  storageDeadline: (task: Task) => task.state === 'storing' ? completeUnstored : undefined,
  lateCopy: (task: Task) => task.videoWork === 'store' ? recordVideo : undefined,
  poster: (task: Task) => task.videoWork === 'poster' ? recordPoster : undefined,
  webhook: (task: Task) => task.state === 'generating' ? store : task.predictionId === null && isOpen(task) ? attach('p1') : undefined,
  cancel: (task: Task) => isOpen(task) ? fail('canceled') : undefined,
  deadline: (task: Task) => isOpen(task) ? fail('deadline_exceeded') : undefined
}
type Actor = keyof typeof nextTransition
const actors = Object.keys(nextTransition) as Actor[]

const ranks = { pending: 0, processing: 1, completed: 2, failed: 2 }

/** Throws if a task changed, between two reads, in a way that no number of transitions may cause. */
function checkOrder (before: Task, after: Task): void {
  if (!isOpen(before)) checkEnded(before, after)
  if (ranks[statusOf(after)] < ranks[statusOf(before)]) throw new Error(`went back from ${statusOf(before)} to ${statusOf(after)}`)
  if (after.version < before.version || after.revision < before.revision) throw new Error('a version went back')
  if (before.predictionId !== null && after.predictionId !== before.predictionId) throw new Error('the prediction was replaced')
  if ((after.progress ?? 0) < (before.progress ?? 0)) throw new Error('progress fell')
  if (after.updatedAt < before.updatedAt) throw new Error('the time of the change went back')
}

/** Only the work that is left for the video of a completed task goes on after the end. */
function checkEnded (before: Task, after: Task): void {
  if (before.state !== after.state || before.failure !== after.failure) throw new Error(`changed after its end: ${before.state} to ${after.state}`)
  if (before.videoWork === null && before.version !== after.version) throw new Error('changed after all work was done')
  if (before.videoName !== after.videoName) throw new Error('the address of the video changed')
  if (before.videoFile !== null && after.videoFile === null) throw new Error('a stored video was lost')
}

t.test('transitions are applied as the table allows, and nothing changes the end of a task', async () => {
  fc.assert(fc.property(fc.array(anyTransition, { maxLength: 40 }), fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 40, maxLength: 40 }), (steps, ticks) => {
    let task = newTask('A whale', 'Cursed', 840, 1_000)
    for (const [index, transition] of steps.entries()) {
      const next = applyTransition(task, transition, 1_000 + (ticks[index] ?? 0))
      const rule = transitions[transition.type]
      const { from, to } = rule
      const isAllowed = (from as readonly string[]).includes(task.state) && (!('work' in rule) || rule.work === task.videoWork)
      if ((next !== undefined) !== isAllowed) throw new Error(`${transition.type} from ${task.state}`)
      if (next === undefined) continue
      if (next.state !== to || next.version !== task.version + 1) throw new Error(`${transition.type} led to ${next.state}`)
      if (!taskStatuses.includes(statusOf(next))) throw new Error('a fifth status')
      checkOrder(task, next)
      task = next
    }
  }), { numRuns: 2_000 })
})

t.test('a task ends exactly once, in every interleaving of racing actors', async () => {
  await fc.assert(fc.asyncProperty(fc.scheduler(), fc.array(fc.constantFrom(...actors), { minLength: 2, maxLength: 12 }), async (scheduler, racing) => {
    const store = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
    try {
      await race(store, scheduler, racing)
    } finally {
      await store.close()
    }
  }), { numRuns: 300 })
})

/** Each actor reads the task, waits until the scheduler resumes it, applies its transition and reads again, up to four times. */
async function race (store: TaskStore, scheduler: fc.Scheduler, racing: Actor[]): Promise<void> {
  const { id } = await storeTask(store, newTask('A whale', 'Cursed', 840, Date.now()))
  let last = await read(store, id)
  let endings = 0
  const act = async (actor: Actor): Promise<void> => {
    for (let turn = 0; turn < 4; turn++) {
      const seen = await read(store, id)
      const transition = nextTransition[actor](seen)
      await scheduler.schedule(Promise.resolve(), actor)
      if (transition === undefined) continue
      const result = await store.applyTransition(seen, transition)
      if (result.outcome === 'applied' && isOpen(seen) && !isOpen(result.task)) endings++
      const now = await read(store, id)
      checkOrder(last, now)
      last = now
    }
  }
  const all = Promise.all(racing.map(act))
  await scheduler.waitFor(all)
  const final = await read(store, id)
  if (endings !== (isOpen(final) ? 0 : 1)) throw new Error(`${endings} endings, and the task is ${final.state}`)
}

async function read (store: TaskStore, id: string): Promise<Task> {
  const task = await store.get(id)
  if (task === undefined) throw new Error('The task is gone')
  return task
}
