import { createHash } from 'node:crypto'
import type { Task } from '../tasks/task.ts'

/** 1 to 255 visible ASCII characters, bare or between quotes. */
export const idempotencyKeyPattern = '^(?:"[!-~]{1,255}"|(?!""$)[!-~]{1,255})$'
export const keyTtlMs = 24 * 60 * 60 * 1_000

/** A request that makes one task, no matter how often it is sent. */
export interface IdempotentRequest {
  /** The name of the API key to which it belongs. Callers without an API key share the scope `''`. */
  scope: string
  key: string
  /** Distinguishes this request from a different one with the same key. */
  fingerprint: string
  /** the code of the first answer, given again with each replay */
  code: 200 | 202
}

/**
 * `replayed` repeats the answer to the first request. `task_deleted`: the task of the first request has been deleted since. The
 * key does not make a second one, because a client that repeats its request would pay again.
 */
export type IdempotentOutcome =
  | { outcome: 'created' }
  | { outcome: 'replayed', taskId: string, code: 200 | 202 }
  | { outcome: 'key_reused' }
  | { outcome: 'task_deleted' }

/** A key that is stored, and whether its task still exists. */
export interface StoredKey { row: KeyRow, hasTask: boolean }

export interface KeyRow { scope: string, key: string, fingerprint: string, task_id: string, code: 200 | 202, created_at: number }

/** The same key may come with quotes and without. */
export function unquoteKey (header: string): string {
  return /^"(.+)"$/.exec(header)?.[1] ?? header
}

/** A hash of what a request asks for. A request without a callback address has no third part. */
export function fingerprintRequest ({ dream, style, callbackUrl }: Pick<Task, 'dream' | 'style' | 'callbackUrl'>): string {
  const parts = callbackUrl === null ? [dream, style] : [dream, style, callbackUrl]
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}

export function toKeyRow ({ scope, key, fingerprint, code }: IdempotentRequest, taskId: string, now: number): KeyRow {
  return { scope, key, fingerprint, task_id: taskId, code, created_at: now }
}

/** The outcome for a request whose key exists already. */
export function compareWithStoredKey ({ row, hasTask }: StoredKey, { fingerprint }: IdempotentRequest): IdempotentOutcome {
  if (row.fingerprint !== fingerprint) return { outcome: 'key_reused' }
  return hasTask ? { outcome: 'replayed', taskId: row.task_id, code: row.code } : { outcome: 'task_deleted' }
}
