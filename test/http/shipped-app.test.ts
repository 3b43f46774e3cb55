import t from 'tap'
import type { Fault } from '../../replicate-emulator/fault.ts'
import type { Outcome } from '../../replicate-emulator/outcome.ts'
import { startService } from '../support/service.ts'

/** The app runs a hundred times faster here: it stops waiting after 9 s, and tasks end after 8 s. */
const faster = 100
const pace = { firstMs: 5_000 / faster, factor: 1.5, maxMs: 30_000 / faster, giveUpMs: 15 * 60_000 / faster }

const members = ['task_id', 'status', 'dream', 'style', 'video_url', 'error', 'created_at', 'updated_at']
const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

interface AppTask { task_id: string, status: string, video_url: string | null, error: string | null }

/** As strict as Swift's decoder: each of the eight members must exist and have its type; other members are ignored. */
function decode (body: string): AppTask {
  const task = JSON.parse(body)
  for (const member of members) if (!(member in task)) throw new Error(`There is no ${member}`)
  for (const member of ['task_id', 'status', 'dream', 'style']) if (typeof task[member] !== 'string') throw new Error(`${member} is no text`)
  for (const member of ['video_url', 'error']) if (task[member] !== null && typeof task[member] !== 'string') throw new Error(`${member} is neither text nor null`)
  for (const member of ['created_at', 'updated_at']) if (!time.test(task[member])) throw new Error(`${member} is no time that it reads`)
  if (!['pending', 'processing', 'completed', 'failed'].includes(task.status)) throw new Error(`It does not know ${task.status}`)
  return task
}

/** Imitates the app. Any status but 200 is an error to it, and so is a task that has not ended in time. */
async function makeVideo (url: string, dream: string): Promise<AppTask> {
  const created = await fetch(`${url}/generate-video?${new URLSearchParams({ dream, style: 'Animated' })}`, { method: 'POST' })
  if (created.status !== 200) throw new Error(`The app does not accept ${created.status}`)
  const { task_id: taskId } = await created.json() as { task_id: string }
  const giveUpAt = Date.now() + pace.giveUpMs
  for (let ms = pace.firstMs; Date.now() < giveUpAt; ms = Math.min(pace.maxMs, ms * pace.factor)) {
    await new Promise((resolve) => setTimeout(resolve, ms))
    // The app writes UUIDs in upper case.
    const response = await fetch(`${url}/video-status/${taskId.toUpperCase()}`)
    if (response.status !== 200) throw new Error(`The app does not accept ${response.status}`)
    const task = decode(await response.text())
    if (task.status === 'completed' || task.status === 'failed') return task
  }
  throw new Error('The app gave up')
}

interface Scenario { ends: 'completed' | 'failed', outcome?: Outcome, faults?: Fault[], generationMs?: number }

const scenarios: Record<string, Scenario> = {
  'all goes well': { ends: 'completed' },
  'the model shows its progress': { ends: 'completed', outcome: { status: 'succeeded', progress: true }, generationMs: 500 },
  'the output is a list': { ends: 'completed', outcome: { status: 'succeeded', output: ['$VIDEO'] } },
  'the content policy says no': { ends: 'failed', outcome: { status: 'failed', error: 'NSFW content detected' } },
  'there is no output': { ends: 'failed', outcome: { status: 'succeeded', output: null } },
  'the prediction is canceled': { ends: 'failed', outcome: { status: 'canceled' } },
  'the prediction is aborted': { ends: 'failed', outcome: { status: 'aborted' } },
  'Replicate asks to wait': { ends: 'completed', faults: [{ call: 'create', kind: 'status', status: 429, retry_after: 1 }] },
  'the answer to the create is lost': { ends: 'completed', faults: [{ call: 'create', kind: 'reset_after' }] },
  'the input is refused': { ends: 'failed', faults: [{ call: 'create', kind: 'status', status: 422 }] },
  'the account is out of credit': { ends: 'failed', faults: [{ call: 'create', kind: 'status', status: 402, share: 1 }] },
  'Replicate is down': { ends: 'failed', faults: [{ call: 'any', kind: 'html', status: 503, share: 1 }] },
  'every second read fails': { ends: 'completed', faults: [{ call: 'get', kind: 'malformed', share: 0.5 }] },
  'the generation takes for ever': { ends: 'failed', generationMs: 600_000 }
}

t.jobs = 7
for (const [name, { ends, outcome, faults = [], generationMs = 100 }] of Object.entries(scenarios)) {
  t.test(`the shipped app gets a result if ${name}`, async (t) => {
    const { app, emulator } = await startService(t, { emulator: { generationMs }, env: { TASK_DEADLINE_SECONDS: '8' } })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    if (outcome !== undefined) emulator.addOutcome(outcome)
    for (const fault of faults) emulator.addFault(fault)
    const task = await makeVideo(url, `${name} 🐋`)
    t.equal(task.status, ends)
    t.equal(typeof task.video_url, ends === 'completed' ? 'string' : 'object')
    t.equal(typeof task.error, ends === 'failed' ? 'string' : 'object')
  })
}
