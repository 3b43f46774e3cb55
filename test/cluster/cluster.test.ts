import pg from 'pg'
import t, { type Test } from 'tap'
import { until } from '../../harness/until.ts'
import type { EmulatorOptions } from '../../replicate-emulator/app.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { createDatabase } from '../support/postgres.ts'
import { runService } from '../support/running-service.ts'
import { startEmulator } from '../support/service.ts'

/** Shorter than the time until leases expire: the last heartbeat is up to 3 s old, and the next one is awaited for 10 s. */
const beforeItIsMissedMs = 6_000
/** A generation that goes on until the test finishes it. */
const endless = { generationMs: 600_000 }

t.test('a client whose requests alternate between three instances sees one service', async (t) => {
  const { post, ended, emulator, instances } = await startCluster(t)
  const tasks = await ended(await post(60))
  t.same(tasks.filter(({ status }) => status !== 'completed'), [])
  t.equal(emulator.predictions.length, 60)
  t.equal(instances.flatMap(completedBy).length, 60)
})

t.test('the other instances resume the tasks of one that is killed, without a second prediction', async (t) => {
  const { post, ended, finishAll, exclude, emulator, instances } = await startCluster(t, endless)
  const taskIds = await post(30)
  const victim = await findBusiest(instances, 30)
  const orphans = createdBy(victim)
  await victim.end('SIGKILL')
  exclude(victim)
  await finishAll()
  // `ended` waits for 20 s: every task has to end within that time.
  const tasks = await ended(taskIds)
  t.same(tasks.filter(({ status }) => status !== 'completed'), [])
  const completed = instances.filter((instance) => instance !== victim).flatMap(completedBy)
  t.same(orphans.filter((taskId) => !completed.includes(taskId)), [])
  t.equal(emulator.predictions.length, 30)
})

t.test('an instance that receives SIGTERM releases its tasks, and the others resume them at once', async (t) => {
  const { post, ended, finishAll, exclude, jobs, emulator, instances } = await startCluster(t, endless)
  const taskIds = await post(30)
  const stopping = await findBusiest(instances, 30)
  const released = createdBy(stopping)
  exclude(stopping)
  t.equal((await stopping.end('SIGTERM')).code, 0)
  await until(async () => (await jobs(released)).every(({ isTakenOver }) => isTakenOver) || undefined, 'the others to resume the tasks', { timeoutMs: beforeItIsMissedMs })
  t.same(new Set((await jobs(released)).map(({ message }) => message)), new Set(['released']))
  await finishAll()
  const tasks = await ended(taskIds)
  t.same(tasks.filter(({ status }) => status !== 'completed'), [])
  t.equal(emulator.predictions.length, 30)
})

t.test('an instance that was frozen notices that its leases are lost, abandons its tasks and keeps serving', async (t) => {
  const { post, ended, finishAll, exclude, jobs, emulator, instances } = await startCluster(t, endless)
  const taskIds = await post(30)
  const frozen = await findBusiest(instances, 30)
  const url = await frozen.listeningUrl()
  const takenOver = createdBy(frozen)
  frozen.signal('SIGSTOP')
  exclude(frozen)
  await until(async () => (await jobs(takenOver)).every(({ isTakenOver }) => isTakenOver) || undefined, 'the others to take over')
  frozen.signal('SIGCONT')
  await until(() => takenOver.every((taskId) => lostBy(frozen).includes(taskId)) || undefined, 'the frozen instance to notice that its leases are lost')
  await finishAll()
  const tasks = await ended(taskIds)
  t.same(tasks.filter(({ status }) => status !== 'completed'), [])
  t.same(completedBy(frozen).filter((taskId) => takenOver.includes(taskId)), [])
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
  return { emulator, instances, finishAll, jobs: await jobReader(t, databaseUrl), exclude: (instance: Instance) => urls.delete(instance), ...clientOf(urls) }
}

/** A client whose requests go to the instances in turn. */
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

/** Reads the jobs of tasks: whether another instance has claimed the task since, and the reason why the first lease ended. */
async function jobReader (t: Test, databaseUrl: string) {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  return async (taskIds: string[]): Promise<Array<{ isTakenOver: boolean, message: string | null }>> => (await client.query(
    "select state = 'active' and retry_count > 0 as \"isTakenOver\", output ->> 'message' as message from pgboss.job where id = any($1::uuid[])", [taskIds])).rows
}

/** The instance with the most tasks, as soon as each of `count` tasks has its prediction. */
async function findBusiest (instances: Instance[], count: number): Promise<Instance> {
  await until(() => instances.flatMap(createdBy).length === count || undefined, 'every prediction to be created')
  const [busiest] = instances.toSorted((a, b) => createdBy(b).length - createdBy(a).length)
  if (busiest === undefined) throw new Error('There is no instance')
  return busiest
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
