import { ServiceClient } from '../harness/service-client.ts'
import { until } from '../harness/until.ts'
import { emulatorCalls, post, startEmulator, startService } from './setup.ts'

const tasks = 600
const lostShare = 0.15
const pollIntervalMs = 250
const maxMs = 15 * 60_000

/**
 * Tasks of one dream, with the answers to a share of the creates lost: without a seed or a webhook, their predictions
 * differ in nothing but their times. The reads are the cost of finding them, besides the sweeps.
 */
export async function measureLostAnswers () {
  const emulator = await startEmulator(20_000)
  const service = await startService()
  const client = new ServiceClient({ urls: [service.url], timeoutMs: 10_000 })
  try {
    await fetch(`${emulator.url}/emulator/faults`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ call: 'create', kind: 'reset_after', share: lostShare })
    })
    await post(service, tasks)
    const counts = await until(() => endedTasks(client), 'all tasks to end', { timeoutMs: maxMs, intervalMs: pollIntervalMs })
    const calls = await emulatorCalls(emulator)
    return {
      what: `${tasks} tasks of one dream, ${lostShare * 100} % of the answers to creates lost`,
      ...counts,
      'predictions made': calls.create,
      'reads of the list': calls.list,
      'reads of a prediction': calls.get,
      target: 'below 2,000 reads'
    }
  } finally {
    await client.close()
    await service.stop()
    await emulator.stop()
  }
}

async function endedTasks (client: ServiceClient): Promise<{ completed: number, failed: number } | undefined> {
  const [completed, failed] = await Promise.all([client.listTasks('status=completed'), client.listTasks('status=failed')])
  if (completed.length + failed.length < tasks) return undefined
  return { completed: completed.length, failed: failed.length }
}
