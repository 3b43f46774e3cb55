import { setTimeout as delay } from 'node:timers/promises'
import { absolute, callsAt, median, post, startEmulator, startService, type Row } from './setup.ts'

const starts = 9

/** Memory with 10,000 tasks open, of which 1,000 are in flight, and the time from start to ready with them. */
export async function measureBacklog (): Promise<Row[]> {
  const emulator = await startEmulator(600_000)
  const service = await startService()
  await post(service, 10_000)
  while ((await callsAt(emulator)).create < 1_000) await delay(100)
  await delay(10_000)
  const memory = service.residentMegabytes()
  await service.stop()
  const startMs: number[] = []
  for (let start = 0; start < starts; start++) {
    const fresh = await startService()
    startMs.push(fresh.startMs)
    await fresh.stop()
  }
  await emulator.stop()
  return [
    absolute('resident memory, 10,000 open', `${memory.toFixed(0)} MB`, '≤ 200 MB'),
    absolute('start to ready', `${median(startMs).toFixed(0)} ms`, '≤ 1,000 ms')
  ]
}
