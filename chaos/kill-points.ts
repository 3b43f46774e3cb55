import { subscribe } from 'node:diagnostics_channel'
import { writeSync } from 'node:fs'
import { parseStrike, strikePipe, strikeVariable, type StrikePoint } from './strike-points.ts'
import { onTaskWrite } from './task-writes.ts'

/**
 * Loaded into the service before anything else (`node --import`): the process kills or freezes itself at the point
 * that CHAOS_STRIKE names. It watches what the service does from below (the statements that the database is given, the
 * requests that undici sends), so that nothing in the service has to know of it.
 */
const strike = parseStrike(process.env[strikeVariable])
let passed = 0

function pass (point: StrikePoint): void {
  if (point !== strike?.point || ++passed !== strike.occurrence) return
  // Synchronous: of a process that is killed in the next instruction nothing else would arrive.
  writeSync(strikePipe, `${point}\n`)
  process.kill(process.pid, point.startsWith('stop_') ? 'SIGSTOP' : 'SIGKILL')
}

if (strike !== undefined) {
  watchWrites()
  watchCreates()
}

/** Before the row is written, so nothing of it is on disk. */
function watchWrites (): void {
  onTaskWrite((stage) => {
    if (stage === 'submitting') pass('before_mark')
    if (stage === 'completed' || stage === 'failed') pass('before_finish')
  })
}

/** Only the create of a prediction: reads and cancels pay nothing. */
function watchCreates (): void {
  onCreate('undici:request:create', () => {
    // The mark was committed before the client was asked; the request now waits for a connection.
    pass('after_mark')
    pass('stop_after_mark')
  })
  // The service was asked for the last time whether to send; the first byte is written in the same turn.
  onCreate('undici:client:sendHeaders', () => pass('stop_before_sending'))
  onCreate('undici:request:bodySent', () => pass('after_post_sent'))
  onCreate('undici:request:headers', ({ response }) => {
    if (response?.statusCode === 201) pass('after_answer')
  })
}

interface UndiciEvent {
  request: { method: string, path: string }
  response?: { statusCode: number }
}

function onCreate (channel: string, act: (event: UndiciEvent) => void): void {
  subscribe(channel, (message) => {
    // The boundary: https://undici.nodejs.org/#/docs/api/DiagnosticsChannel.md
    const event = message as UndiciEvent
    if (event.request.method === 'POST' && event.request.path.endsWith('/predictions')) act(event)
  })
}
