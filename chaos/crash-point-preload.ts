import { subscribe } from 'node:diagnostics_channel'
import { writeSync } from 'node:fs'
import { parseStrike, strikePipe, strikeVariable, type StrikePoint } from './crash-points.ts'
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
  watchCallbacks()
}

function watchWrites (): void {
  onTaskWrite({
    // Before the row is written, so nothing of it is on disk.
    asked: ({ state }) => {
      if (state === 'submitting') pass('before_mark')
      if (isEnd(state)) pass('before_finish')
    },
    // That somebody is to be told is on disk by now, or never will be.
    committed: ({ state, callback_url: address }) => {
      if (isEnd(state) && address !== null) pass('after_finish')
    }
  })
}

function isEnd (state: unknown): boolean {
  return state === 'completed' || state === 'failed'
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

function watchCallbacks (): void {
  onCallback('undici:client:sendHeaders', () => pass('before_callback'))
  // Whoever asked hears of the answer after this only, so nothing of it is on disk.
  onCallback('undici:request:headers', ({ response }) => {
    if (response?.statusCode === 204) pass('after_callback_answer')
  })
}

interface UndiciEvent {
  request: { method: string, path: string, headers: string[] }
  response?: { statusCode: number }
}

function onCreate (channel: string, act: (event: UndiciEvent) => void): void {
  onRequest(channel, (event) => {
    if (event.request.method === 'POST' && event.request.path.endsWith('/predictions')) act(event)
  })
}

/** A request that is signed by Standard Webhooks: the service sends no other. */
function onCallback (channel: string, act: (event: UndiciEvent) => void): void {
  onRequest(channel, (event) => {
    if (event.request.headers.includes('webhook-signature')) act(event)
  })
}

function onRequest (channel: string, act: (event: UndiciEvent) => void): void {
  // The boundary: https://undici.nodejs.org/#/docs/api/DiagnosticsChannel.md
  subscribe(channel, (message) => act(message as UndiciEvent))
}
