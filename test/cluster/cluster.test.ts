import pg from 'pg'
import t, { type Test } from 'tap'
import type { EmulatorOptions } from '../../replicate-emulator/app.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { createDatabase } from '../support/postgres.ts'
import { runService } from '../support/running-service.ts'
import { until } from '../../harness/until.ts'
import { startEmulator } from '../support/service.ts'

/** Sooner than an instance that says nothing is missed: its last word is at most 3 s old, and 10 s are waited for the next. */
const beforeItIsMissedMs = 6_000
/** A generation that goes on until the test finishes it. */
const endless = { generationMs: 600_000 }

t.test('a client that goes round three instances sees one service', async (t) => {
  const { post, ended, emulator, instances } = await startCluster(t)
  const tasks = await ended(await post(60))
  t.same(tasks.filter(({ status }) => status !== 'completed'), [])
  t.equal(emulator.predictions.length, 60)
  t.equal(instances.flatMap(completedBy).length, 60)
})

t.test('the tasks of an instance that is killed are resumed by the others, waited for and not made again', async (t) => {
  const { post, ended, finishAll, leaveOut, emulator, instances } = await startCluster(t, endless)
  const taskIds = await post(30)
  const victim = await busiest(instances, 30)
  const orphans = createdBy(victim)
  await victim.end('SIGKILL')
  leaveOut(victim)
  await finishAll()
  // `ended` waits for 20 s: all have to be over by then.
  const tasks = await ended(taskIds)
  t.same(tasks.filter(({ status }) => status !== 'completed'), [])
  const completed = instances.filter((instance) => instance !== victim).flatMap(completedBy)
  t.same(orphans.filter((taskId) => !completed.includes(taskId)), [])
  t.equal(emulator.predictions.length, 30)
})

t.test('an instance that is told to stop hands its tasks to the others at once', async (t) => {
  const { post, ended, finishAll, leaveOut, jobs, emulator, instances } = await startCluster(t, endless)
  const taskIds = await post(30)
  const leaver = await busiest(instances, 30)
  const handedOn = createdBy(leaver)
  leaveOut(leaver)
  t.equal((await leaver.end('SIGTERM')).code, 0)
  await until(async () => (await jobs(handedOn)).every(({ isTakenOver }) => isTakenOver) || undefined, 'the others to go on', { timeoutMs: beforeItIsMissedMs })
  t.same(new Set((await jobs(handedOn)).map(({ message }) => message)), new Set(['released']))
  await finishAll()
  const tasks = await ended(taskIds)
  t.same(tasks.filter(({ status }) => status !== 'completed'), [])
  t.equal(emulator.predictions.length, 30)
})

t.test('an instance that was frozen finds its leases lost, leaves its tasks to the others, and serves on', async (t) => {
  const { post, ended, finishAll, leaveOut, jobs, emulator, instances } = await startCluster(t, endless)
  const taskIds = await post(30)
  const sleeper = await busiest(instances, 30)
  const url = await sleeper.listeningUrl()
  const taken = createdBy(sleeper)
  sleeper.signal('SIGSTOP')
  leaveOut(sleeper)
  await until(async () => (await jobs(taken)).every(({ isTakenOver }) => isTakenOver) || undefined, 'the others to take over')
  sleeper.signal('SIGCONT')
  await until(() => taken.every((taskId) => lostBy(sleeper).includes(taskId)) || undefined, 'the sleeper to find its leases lost')
  await finishAll()
  const tasks = await ended(taskIds)
  t.same(tasks.filter(({ status }) => status !== 'completed'), [])
  t.same(completedBy(sleeper).filter((taskId) => taken.includes(taskId)), [])
  t.equal(emulator.predictions.length, 30)
  t.equal((await fetch(`${url}/livez`)).status, 200)
  t.equal((await fetch(`${url}/readyz`)).status, 200)
})

type Instance = Awaited<ReturnType<typeof runService>>

async function startCluster (t: Test, emulatorOptions: EmulatorOptions = {}) {
  const databaseUrl = await createDatabase(t)
  const { emulator, apiUrl } = await startEmulator(t, emulatorOptions)
  const env = { DATABASE_URL: databaseUrl, REPLICATE_API_URL: apiUrl }
  const instances = await Promise.all(Array.from({ length: 3 }, () => runService(t, env)))
  const urls = new Map(await Promise.all(instances.map(async (instance) => [instance, await instance.listeningUrl()] as const)))
  const finishAll = async () => {
    await Promise.all(emulator.predictions.map(({ id }) => fetch(`${new URL(apiUrl).origin}/emulator/predictions/${id}/finish`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"status":"succeeded"}'
    })))
  }
  return { emulator, instances, finishAll, jobs: await jobReader(t, databaseUrl), leaveOut: (gone: Instance) => urls.delete(gone), ...clientOf(urls) }
}

/** Each request goes to the next instance, whatever the one before was about. */
function clientOf (urls: Map<Instance, string>) {
  let requests = 0
  const request = async <T> (path: string, method: string): Promise<T> => {
    const all = Array.from(urls.values())
    const response = await fetch(`${all[requests++ % all.length]}${path}`, { method })
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
    return await response.json() as T
  }
  const post = async (count: number): Promise<string[]> => {
    const accepted = await Promise.all(Array.from({ length: count }, (_, index) =>
      request<{ task_id: string }>(`/generate-video?dream=A%20whale%20${index}&style=Cursed`, 'POST')))
    return accepted.map(({ task_id: taskId }) => taskId)
  }
  /** All tasks as they ended, within the time that `until` waits for anything. */
  const ended = (taskIds: string[]): Promise<TaskView[]> => {
    const tasks: TaskView[] = []
    return until(async () => {
      const taskId = taskIds[tasks.length]
      if (taskId === undefined) return tasks
      const task = await request<TaskView>(`/video-status/${taskId}`, 'GET')
      if (task.status === 'completed' || task.status === 'failed') tasks.push(task)
      return undefined
    }, 'every task to end')
  }
  return { post, ended }
}

/** Whether somebody else works on tasks since they were claimed first, and what became of their first holder. */
async function jobReader (t: Test, databaseUrl: string) {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  return async (taskIds: string[]): Promise<Array<{ isTakenOver: boolean, message: string | null }>> => (await client.query(
    "select state = 'active' and retry_count > 0 as \"isTakenOver\", output ->> 'message' as message from pgboss.job where id = any($1::uuid[])", [taskIds])).rows
}

/** The instance that holds most tasks, once each of `count` has its prediction. */
async function busiest (instances: Instance[], count: number): Promise<Instance> {
  await until(() => instances.flatMap(createdBy).length === count || undefined, 'every prediction to be created')
  const [most] = instances.toSorted((a, b) => createdBy(b).length - createdBy(a).length)
  if (most === undefined) throw new Error('There is no instance')
  return most
}

function createdBy (instance: Instance): string[] {
  return tasksInLog(instance, 'Prediction created')
}

function completedBy (instance: Instance): string[] {
  return tasksInLog(instance, 'Video completed')
}

function lostBy (instance: Instance): string[] {
  return tasksInLog(instance, 'The lease of a task was lost')
}

function tasksInLog (instance: Instance, message: string): string[] {
  return instance.output().split('\n').filter((line) => line.includes(`"msg":"${message}`)).map((line) => JSON.parse(line).task_id)
}
