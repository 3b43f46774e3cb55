import { setTimeout as delay } from 'node:timers/promises'
import { absolute, creates, median, megabytes, post, startEmulator, startService, type Row } from './setup.ts'

const starts = 9

/** Memory with 10,000 open tasks of which 1,000 are in flight, and the time from start to ready of an empty service. */
export async function measureBacklog (): Promise<Row[]> {
  const emulator = await startEmulator(600_000)
  const service = await startService()
  await post(service, 10_000)
  await creates(emulator, 1_000)
  await delay(10_000)
  const memory = service.process.residentMegabytes()
  await service.stop()
  const startMs: number[] = []
  for (let start = 0; start < starts; start++) {
    const fresh = await startService()
    startMs.push(fresh.startMs)
    await fresh.stop()
  }
  await emulator.stop()
  return [
    absolute('resident memory, 10,000 open', megabytes(memory), '≤ 200 MB'),
    absolute('start to ready', `${median(startMs).toFixed(0)} ms`, '≤ 1,000 ms')
  ]
}
