import { subscribe } from 'node:diagnostics_channel'
import { writeSync } from 'node:fs'
import { channelDescriptor } from '../harness/node-process.ts'
import { crashTriggerVariable, isFreezePoint, parseTrigger, type CrashPoint } from './crash-points.ts'
import { onTaskWrite } from './task-writes.ts'

/**
 * Loaded into the service before anything else (`node --import`). The process kills or freezes itself at the point that
 * CHAOS_CRASH_TRIGGER names. This module watches the statements that the database is given and the requests that undici
 * sends, so that the service does not have to know of it.
 */
const trigger = parseTrigger(process.env[crashTriggerVariable])
let passed = 0

function pass (point: CrashPoint): void {
  if (point !== trigger?.point || ++passed !== trigger.occurrence) return
  // Written synchronously, because the process may be dead after the next instruction.
  writeSync(channelDescriptor, `${point}\n`)
  process.kill(process.pid, isFreezePoint(point) ? 'SIGSTOP' : 'SIGKILL')
}

if (trigger !== undefined) {
  watchWrites()
  watchCreates()
  watchCopies()
  watchCallbacks()
}

function watchWrites (): void {
  onTaskWrite({
    // The row is not written yet, so that nothing of it is on disk.
    requested: ({ state }) => {
      if (state === 'submitting') pass('before_intent')
      if (state === 'storing') pass('before_storing')
      if (isEnd(state)) pass('before_finish')
    },
    // The delivery of the callback is committed together with the end of the task.
    committed: ({ state, callback_url: address }) => {
      // The name of the video is committed, and not a byte of it is stored.
      if (state === 'storing') pass('after_storing')
      if (isEnd(state) && address !== null) pass('after_finish')
    }
  })
}

function isEnd (state: unknown): boolean {
  return state === 'completed' || state === 'failed'
}

/** Watches the creates of predictions only: reads and cancels cost nothing. */
function watchCreates (): void {
  onCreate('undici:request:create', () => {
    // The submission intent was committed before the client was called; the request now waits for a connection.
    pass('after_intent')
    pass('freeze_after_intent')
  })
  // The service has checked for the last time whether to send; the first byte is written in the same turn.
  onCreate('undici:client:sendHeaders', () => pass('freeze_before_sending'))
  onCreate('undici:request:bodySent', () => pass('after_post_sent'))
  onCreate('undici:request:headers', ({ response }) => {
    if (response?.statusCode === 201) pass('after_answer')
  })
}

/** Only a part of a video is in the archive, or all of it and the archive has not completed it. */
function watchCopies (): void {
  onCopy('undici:request:bodyChunkReceived', () => {
    pass('while_copying')
    pass('freeze_while_copying')
  })
  onCopy('undici:request:trailers', () => pass('after_copying'))
}

function watchCallbacks (): void {
  onCallback('undici:client:sendHeaders', () => pass('before_callback'))
  // The service gets the answer after this event, so that nothing of it is on disk.
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

function onCopy (channel: string, act: (event: UndiciEvent) => void): void {
  onRequest(channel, (event) => {
    if (event.request.method === 'GET' && event.request.path.includes('/files/')) act(event)
  })
}

/** Callbacks are the only requests of the service that carry a signature of Standard Webhooks. */
function onCallback (channel: string, act: (event: UndiciEvent) => void): void {
  onRequest(channel, (event) => {
    if (event.request.headers.includes('webhook-signature')) act(event)
  })
}

function onRequest (channel: string, act: (event: UndiciEvent) => void): void {
  // The boundary: https://undici.nodejs.org/#/docs/api/DiagnosticsChannel.md
  subscribe(channel, (message) => act(message as UndiciEvent))
}
