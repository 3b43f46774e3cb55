import t from 'tap'
import { until } from '../../harness/until.ts'
import type { TaskView } from '../../services/tasks/task-view.ts'
import { runService } from '../support/running-service.ts'
import { startEmulator } from '../support/service.ts'

const post = async (url: string): Promise<string> => {
  const response = await fetch(`${url}/generate-video?dream=A%20whale&style=Cursed`, { method: 'POST' })
  return (await response.json() as { task_id: string }).task_id
}
const read = async (url: string, taskId: string): Promise<TaskView> =>
  await (await fetch(`${url}/video-status/${taskId}`)).json() as TaskView

t.test('after kill -9 every task continues where it was, and no prediction is created twice', async (t) => {
  const { emulator, apiUrl } = await startEmulator(t, { generationMs: 60_000 })
  const env = { DATA_DIR: t.testdir(), REPLICATE_API_URL: apiUrl }
  const first = await runService(t, env)
  const firstUrl = await first.listeningUrl()
  const taskIds = await Promise.all(Array.from({ length: 20 }, () => post(firstUrl)))
  await until(async () => {
    const tasks = await Promise.all(taskIds.map((taskId) => read(firstUrl, taskId)))
    return tasks.every(({ status }) => status === 'processing') || undefined
  }, 'every prediction to be attached')
  await first.end('SIGKILL')

  emulator.settings.generationMs = 50
  const second = await runService(t, env)
  const secondUrl = await second.listeningUrl()
  const late = await post(secondUrl)
  for (const { id } of emulator.predictions.slice(0, 20)) {
    await fetch(`${apiUrl.replace('/v1', '')}/emulator/predictions/${id}/finish`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"status":"succeeded"}'
    })
  }
  for (const taskId of [...taskIds, late]) {
    const task = await until(async () => {
      const seen = await read(secondUrl, taskId)
      return seen.status === 'completed' || seen.status === 'failed' ? seen : undefined
    }, `${taskId} to end`)
    t.equal(task.status, 'completed')
  }
  t.equal(emulator.predictions.length, 21)
})

t.test('a task that was not claimed yet is claimed after a restart', async (t) => {
  const { emulator, apiUrl } = await startEmulator(t)
  const env = { DATA_DIR: t.testdir(), REPLICATE_API_URL: apiUrl }
  emulator.addFault({ call: 'create', kind: 'status', status: 429, retry_after: 600 })
  const first = await runService(t, env)
  const taskId = await post(await first.listeningUrl())
  await until(() => emulator.calls.create > 0 || undefined, 'the first try')
  t.equal((await first.end('SIGTERM')).code, 0)
  emulator.clearFaults()
  const second = await runService(t, env)
  const url = await second.listeningUrl()
  await until(async () => (await read(url, taskId)).status === 'completed' || undefined, 'the video')
  t.equal(emulator.predictions.length, 1)
})

t.test('SIGTERM does not wait for a generation, but for the response to a create', async (t) => {
  const { emulator, apiUrl } = await startEmulator(t, { generationMs: 600_000, latencyMs: 1_000 })
  const env = { DATA_DIR: t.testdir(), REPLICATE_API_URL: apiUrl }
  const first = await runService(t, env)
  const taskId = await post(await first.listeningUrl())
  await until(() => emulator.calls.create > 0 || undefined, 'the create to be under way')
  t.equal((await first.end('SIGTERM')).code, 0)
  const second = await runService(t, env)
  t.equal((await read(await second.listeningUrl(), taskId)).status, 'processing')
  t.equal(emulator.predictions.length, 1)
})

t.test('a stopping instance is not ready, and handles all other requests for SHUTDOWN_DELAY_SECONDS', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const service = await runService(t, { DATA_DIR: t.testdir(), REPLICATE_API_URL: apiUrl, SHUTDOWN_DELAY_SECONDS: '2' })
  const url = await service.listeningUrl()
  t.equal((await fetch(`${url}/readyz`)).status, 200)
  service.signal('SIGTERM')
  const refusal = await until(async () => {
    const response = await fetch(`${url}/readyz`)
    return response.status === 503 ? response : undefined
  }, 'readiness to turn')
  t.match(await refusal.json(), { code: 'stopping' })
  t.match(await read(url, await post(url)), { status: /^(pending|processing)$/ })
  t.equal((await service.end()).code, 0)
})

t.test('a start that cannot succeed says why in plain sentences', async (t) => {
  const { apiUrl } = await startEmulator(t)
  const env = { DATA_DIR: t.testdir(), REPLICATE_API_URL: apiUrl }
  const running = await runService(t, env)
  const taken = new URL(await running.listeningUrl()).port
  const cases: Array<[Record<string, string>, RegExp]> = [
    [env, /^[^\n]*in use by another Dreamreel process[^\n]*\n$/],
    [{ ...env, DATA_DIR: ':memory:', PORT: taken }, /^[^\n]*EADDRINUSE[^\n]*\n$/m],
    [{ PORT: 'x', REPLICATE_MODEL: 'luma' }, /^The configuration cannot be used:\n {2}- PORT [^\n]*\n {2}- REPLICATE_MODEL [^\n]*\n$/]
  ]
  for (const [wrong, message] of cases) {
    const { code, output } = await (await runService(t, wrong)).end()
    t.equal(code, 1)
    t.match(output, message)
  }
})
