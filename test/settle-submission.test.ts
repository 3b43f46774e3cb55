import t, { type Test } from 'tap'
import { LocalCallBudget } from '../services/call-budget.ts'
import { CallLimiter } from '../services/call-limiter.ts'
import { CreateGate } from '../services/create-gate.ts'
import { PredictionWatch } from '../services/prediction-watch.ts'
import { createReplicateClient } from '../services/replicate-client.ts'
import { createSqliteTaskStore } from '../services/sqlite-task-store.ts'
import { settleSubmission } from '../services/submit-task.ts'
import { newTask, type Move, type Task } from '../services/task.ts'
import type { TaskStore } from '../services/task-store.ts'
import { startEmulator, until } from './service.ts'

const webhook = 'https://dreams.example/webhooks/replicate/the-task'
const input = { prompt: 'A whale' }
const log = { debug () {}, info () {}, warn () {}, error () {} }
const signal = new AbortController().signal

const submissionNow = () => ({ startedAt: Date.now(), model: 'luma/ray', input, webhook })

async function moved (taskStore: TaskStore, task: Task, move: Move): Promise<Task> {
  const result = await taskStore.move(task, move)
  if (result.outcome !== 'moved') throw new Error(result.outcome)
  return result.task
}

/** A task in doubt, somebody who looks for its prediction, and what happens to both before the next look. */
async function lookWhile (t: Test, change: (taskStore: TaskStore, marked: Task) => Promise<Task>) {
  const { emulator, apiUrl } = await startEmulator(t, { generationMs: 600_000 })
  const taskStore = createSqliteTaskStore({ dataDir: ':memory:', now: Date.now, log })
  const limiter = () => new CallLimiter({ budget: new LocalCallBudget({ perMinute: 100_000, now: () => performance.now() }), log })
  const replicate = createReplicateClient({
    apiUrl, apiToken: 'test-token', connectTimeoutMs: 1_000, createTimeoutMs: 20_000, readTimeoutMs: 5_000, maxResponseBytes: 65_536, creates: limiter(), reads: limiter()
  })
  t.teardown(async () => {
    await replicate.close()
    await taskStore.close()
  })
  const life = {
    taskStore,
    replicate,
    createGate: new CreateGate({ replicate, mostAtOnce: 1, onRoom: () => {}, log, signal }),
    predictionWatch: new PredictionWatch({ replicate, taskStore, pollIntervalMs: 1_000, netIntervalMs: 1_000, sweepFrom: 100, now: Date.now, log, signal }),
    models: { Realistic: 'luma/ray', Animated: 'luma/ray', Cursed: 'luma/ray' },
    replicateApiUrl: apiUrl,
    webhookFor: () => webhook,
    createTimeoutMs: 20_000,
    now: Date.now,
    log,
    signal
  }
  const task = await taskStore.create(newTask('A whale', 'Realistic', 840, Date.now()))
  const marked = await moved(taskStore, task, { type: 'submit', submission: submissionNow() })
  const settled = settleSubmission(marked, life)
  await until(() => emulator.calls.list === 1 || undefined, 'the first look')
  const after = await change(taskStore, marked)
  await replicate.create({ model: 'luma/ray', input, webhook, cancelAfterSeconds: 600 })
  return { emulator, settled: await settled, after }
}

t.test('a task that another instance has handed over once more keeps its prediction', async (t) => {
  const { emulator, settled, after } = await lookWhile(t, async (taskStore, marked) => {
    const queued = await moved(taskStore, marked, { type: 'withdraw', waitingFor: null })
    return moved(taskStore, queued, { type: 'submit', submission: submissionNow() })
  })
  t.same(settled, after)
  t.equal(emulator.calls.cancel, 0)
})

t.test('a task that was canceled in doubt has its prediction canceled where that names it', async (t) => {
  const { emulator, settled } = await lookWhile(t, (taskStore, marked) => moved(taskStore, marked, { type: 'fail', failure: 'canceled' }))
  t.match(settled, { stage: 'failed', failure: 'canceled' })
  t.match(emulator.predictions, [{ status: 'canceled' }])
})
