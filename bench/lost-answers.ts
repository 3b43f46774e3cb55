import { callsAt, post, startEmulator, startService } from './setup.ts'

const tasks = 600
const lostShare = 0.15
const pollMs = 250

/**
 * Tasks of one dream, whose answers are lost for a share of the creates: without a seed or a webhook, their predictions can
 * only be told apart by their times. The reads are what finding them costs, beside the sweeps.
 */
export async function measureLostAnswers () {
  const emulator = await startEmulator(20_000)
  const service = await startService()
  try {
    await fetch(`${emulator.url}/emulator/faults`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ call: 'create', kind: 'reset_after', share: lostShare })
    })
    await post(service, tasks)
    const { completed, failed } = await allEnded(service.url)
    const calls = await callsAt(emulator)
    return {
      what: `${tasks} tasks of one dream, ${lostShare * 100} % of the answers to creates lost`,
      completed,
      failed,
      'predictions made': calls.create,
      'reads of the list': calls.list,
      'reads of a prediction': calls.get,
      target: 'below 2,000 reads'
    }
  } finally {
    await service.stop()
    await emulator.stop()
  }
}

async function allEnded (url: string): Promise<{ completed: number, failed: number }> {
  for (;;) {
    const statuses = await Promise.all(['completed', 'failed'].map((status) => countOf(url, status)))
    const [completed = 0, failed = 0] = statuses
    if (completed + failed >= tasks) return { completed, failed }
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

async function countOf (url: string, status: string): Promise<number> {
  let count = 0
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: { items: unknown[], next_cursor: string | null } = await (await fetch(
      `${url}/video-status?status=${status}&limit=100${cursor && `&cursor=${cursor}`}`
    )).json() as { items: unknown[], next_cursor: string | null }
    count += page.items.length
    cursor = page.next_cursor
  }
  return count
}
